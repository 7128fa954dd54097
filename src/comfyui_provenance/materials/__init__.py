"""Files that go into an image: their digests, and when a known digest still holds."""
