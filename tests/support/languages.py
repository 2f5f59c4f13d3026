"""Whether what a command prints is in one language."""

import re

CHINESE = re.compile("[\u3000-\u303f\u4e00-\u9fff\uff00-\uffef]")
"""A character that only stands in a Chinese text, its punctuation included."""

LABELS = ("智控台MCP参数配置: ", "单模块部署MCP接入点: ")
"""What the tutorials quote: the same in both languages."""


def no_chinese(text: str) -> bool:
    """Whether nothing of it is Chinese."""
    return not CHINESE.search(text)


def no_pair(text: str) -> bool:
    """Whether it is Chinese, and no line says the same in English behind ` / ` as well."""
    return bool(CHINESE.search(text)) and " / " not in text
