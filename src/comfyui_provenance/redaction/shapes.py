"""What a secret is: by the name of the input that holds it, or by its own shape in a text.

Shapes are strict, since the words of a prompt make the image: a word, a file name or a digest is
never taken for a key. What neither name nor shape tells is not found.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Final, TypeAlias

MARK: Final = "[redacted]"
"""Stands where something was removed."""

_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")

_NAMES: Final = [
    "accesskey",
    "accesstoken",
    "apikey",
    "apisecret",
    "apitoken",
    "authheader",
    "authkey",
    "authorization",
    "authtoken",
    "bearertoken",
    "clientsecret",
    "passphrase",
    "passwd",
    "password",
    "privatekey",
    "secretkey",
]
"""Names that tell a secret wherever they stand in a name, written together."""

_LAST_WORDS: Final = frozenset(
    [
        "auth",
        "bearer",
        "cookie",
        "cookies",
        "credential",
        "credentials",
        "jwt",
        "oauth",
        "passcode",
        "pwd",
        "secret",
        "secrets",
        "sessionid",
        "token",
    ]
)
"""Words that tell a secret where they end a name."""

_KEY_OWNERS: Final = frozenset(
    [
        "anthropic",
        "azure",
        "bfl",
        "civitai",
        "claude",
        "deepl",
        "deepseek",
        "encryption",
        "fal",
        "gemini",
        "google",
        "groq",
        "hf",
        "huggingface",
        "license",
        "master",
        "mistral",
        "openai",
        "openrouter",
        "replicate",
        "service",
        "session",
        "signing",
        "stability",
        "subscription",
        "xai",
    ]
)
"""Words before a last `key` that make it a secret; a `sort_key` is none."""

_TEXT_TOKENS: Final = frozenset(
    [
        "audio",
        "bos",
        "class",
        "cls",
        "end",
        "eos",
        "image",
        "initializer",
        "instance",
        "mask",
        "next",
        "pad",
        "per",
        "placeholder",
        "sep",
        "special",
        "start",
        "stop",
        "trigger",
        "unk",
        "video",
    ]
)
"""Words before a last `token` that tell a piece of text."""

_ABOUT: Final = frozenset(
    [
        "count",
        "env",
        "file",
        "hint",
        "index",
        "length",
        "limit",
        "mode",
        "path",
        "source",
        "type",
        "url",
        "var",
    ]
)
"""Last words that tell of something about a secret."""

_LOOSE_NAMES: Final = frozenset(
    ["auth", "bearer", "cookie", "cookies", "oauth", "secret", "secrets", "token"]
)
"""Names that are also words: inside a text they need a value that looks like a secret."""

_PLACEHOLDERS: Final = frozenset(
    [
        "auto",
        "default",
        "disabled",
        "enabled",
        "env",
        "false",
        "n/a",
        "none",
        "null",
        "true",
        "undefined",
    ]
)
"""Values that are no secret under any name, and stand in many other places."""

_PIECES: Final = re.compile(r"[A-Za-z0-9]+")
_DIGIT_EDGE: Final = re.compile(r"(?<=[0-9])[A-Za-z]|(?<=[A-Za-z])[0-9]")


@lru_cache(maxsize=4096)
def is_secret_name(name: str) -> bool:
    """Tell whether an input or key of this name holds a secret; snake, camel and kebab case."""
    words = [word.lower() for word in _WORD.findall(name)]
    if not words or words[-1] in _ABOUT:
        return False
    joined = "".join(words)
    if any(part in joined for part in _NAMES):
        return True
    before = words[-2] if len(words) > 1 else ""
    if words[-1] == "token":
        return before not in _TEXT_TOKENS
    if words[-1] == "key":
        return before in _KEY_OWNERS
    return words[-1] in _LAST_WORDS or (before, words[-1]) == ("session", "id")


@lru_cache(maxsize=16384)
def has_no_shape(text: str) -> bool:
    """Tell whether no part of a text has the shape of a secret.

    For the short texts that stand in every prompt a thousand times: names, classes, ids.
    """
    return replace_shapes(text, lambda _: MARK) == text


def is_secret_value(value: str) -> bool:
    """Tell whether a text under a secret's name is one."""
    word = value.strip()
    return bool(word) and word != MARK and word.lower() not in _PLACEHOLDERS


def _is_random(text: str) -> bool:
    """Tell characters drawn at random from words, file names and numbers."""
    pieces = _PIECES.findall(text)
    return len(_DIGIT_EDGE.findall(text)) >= 4 or any(
        len(piece) >= 20 or (len(piece) >= 16 and _DIGIT_EDGE.search(piece)) for piece in pieces
    )


def _always(match: re.Match[str]) -> bool:
    return True


def _is_parameter(match: re.Match[str]) -> bool:
    name = match["name"]
    named = is_secret_name(name) or name.lower().endswith(("sig", "signature")) or name == "key"
    return named and is_secret_value(match["secret"])


def _is_member(match: re.Match[str]) -> bool:
    value = match["secret"]
    if not is_secret_name(match["name"]) or not is_secret_value(value):
        return False
    is_word = value.isalpha() or any(char.isspace() for char in value)
    return not is_word if match["name"].lower() in _LOOSE_NAMES else True


def _is_assigned(match: re.Match[str]) -> bool:
    return is_secret_name(match["name"]) and _is_random(match["secret"])


def _is_header(match: re.Match[str]) -> bool:
    before = match.string[max(0, match.start() - 24) : match.start()].lower()
    return "authorization" in before or (len(match["secret"]) >= 16 and _is_random(match["secret"]))


_ISSUED: Final = {
    "hf_": "[A-Za-z0-9]{20,}",  # Hugging Face
    "api_org_": "[A-Za-z0-9]{20,}",
    "ghp_": "[A-Za-z0-9]{20,}",  # GitHub
    "gho_": "[A-Za-z0-9]{20,}",
    "ghu_": "[A-Za-z0-9]{20,}",
    "ghs_": "[A-Za-z0-9]{20,}",
    "ghr_": "[A-Za-z0-9]{20,}",
    "github_pat_": "[A-Za-z0-9_]{20,}",
    "glpat-": "[A-Za-z0-9_-]{20,}",  # GitLab
    "xox": "[abeoprs]-[A-Za-z0-9-]{10,}",  # Slack
    "AKIA": "[A-Z0-9]{16}(?![A-Za-z0-9])",  # AWS
    "ASIA": "[A-Z0-9]{16}(?![A-Za-z0-9])",
    "AIza": "[A-Za-z0-9_-]{30,}",  # Google
    "r8_": "[A-Za-z0-9]{30,}",  # Replicate
    "gsk_": "[A-Za-z0-9]{30,}",  # Groq
    "xai-": "[A-Za-z0-9]{40,}",
    "pplx-": "[A-Za-z0-9]{40,}",
    "nvapi-": "[A-Za-z0-9_-]{40,}",
    # A folder may be named by a commit of 40 digits; keys have 64.
    "comfyui-": "[0-9a-f]{48,}",
}
"""Keys by the prefix that their issuer gives them."""

_Shape: TypeAlias = "tuple[tuple[str, ...], re.Pattern[str], Callable[[re.Match[str]], bool]]"

# Linear on any text: a repetition without an end is possessive or ends a pattern that matched, or
# what starts it cannot stand inside what it repeats.
_SHAPES: Final[tuple[_Shape, ...]] = (
    (
        ("PRIVATE KEY",),
        # To the end of the text where the key's own end is missing.
        re.compile(
            r"(?P<secret>-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----.*?"
            r"(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----|\Z))",
            re.DOTALL,
        ),
        _always,
    ),
    (
        ("://",),
        re.compile(r"(?<=://)(?P<secret>(?!:@)[^\s/@:?#\"\\]*+:[^\s/@?#\"\\]*+)(?=@)"),
        _always,
    ),
    (
        ("=",),
        re.compile(r"[?&;](?P<name>[A-Za-z0-9_.-]{1,64})=(?P<secret>[^\s?&;#\"'\\<>]+)"),
        _is_parameter,
    ),
    (
        ('"',),
        re.compile(
            r'"(?P<name>[^"\\]{1,64})"\s{0,8}:\s{0,8}"(?P<secret>(?:[^"\\]|\\.)++)', re.DOTALL
        ),
        _is_member,
    ),
    (
        ("earer", "EARER", "asic", "oken"),
        re.compile(
            r"(?<![A-Za-z0-9])(?:[Bb]earer|BEARER|[Bb]asic|[Tt]oken)[ \t]{1,4}"
            r"(?P<secret>[A-Za-z0-9._~+/=-]{6,})"
        ),
        _is_header,
    ),
    (
        ("=", ":"),
        re.compile(
            r"(?<![A-Za-z0-9_-])(?P<name>[A-Za-z][A-Za-z0-9_-]{0,63})[\\\"']{0,4}\s{0,4}[=:]"
            r"\s{0,4}[\\\"']{0,4}(?P<secret>[A-Za-z0-9_.+/~-]{16,}+={0,2}+)(?!\s?[=:])"
        ),
        _is_assigned,
    ),
    (
        tuple(_ISSUED),
        re.compile(
            "(?<![A-Za-z0-9])(?P<secret>"
            + "|".join(prefix + body for prefix, body in _ISSUED.items())
            + ")"
        ),
        _always,
    ),
    (
        ("sk-",),
        re.compile(r"(?<![A-Za-z0-9])(?P<secret>sk-[A-Za-z0-9_-]{20,})"),
        lambda match: _is_random(match["secret"][3:]),
    ),
    (
        ("eyJ",),
        re.compile(
            r"(?<![A-Za-z0-9_-])(?P<secret>eyJ[A-Za-z0-9_-]{8,}+"
            r"\.eyJ[A-Za-z0-9_-]{4,}+\.[A-Za-z0-9_-]*+)"
        ),
        _always,
    ),
)


def replace_shapes(text: str, replace: Callable[[str], str]) -> str:
    """Replace every secret that is known by its shape.

    Args:
        text: Without `MARK`; what stands on either side of one is a text of its own.
        replace: Gives the new text for a secret.
    """
    for hints, pattern, is_secret in _SHAPES:
        if any(hint in text for hint in hints):
            text = pattern.sub(partial(_replace_match, is_secret, replace), text)
    return text


def _replace_match(
    is_secret: Callable[[re.Match[str]], bool], replace: Callable[[str], str], match: re.Match[str]
) -> str:
    if not is_secret(match):
        return match[0]
    start, end = match.span("secret")
    whole = match.string
    return whole[match.start() : start] + replace(match["secret"]) + whole[end : match.end()]
