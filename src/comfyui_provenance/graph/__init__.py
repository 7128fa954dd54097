"""The API-format graph: parse it, trace what an image depends on, rebuild it."""
