"""Renders templates with the reference: Jinja2 as transformers configures it.

One result is {"o": output} or {"e": class of the error, "m": message of
raise_exception}. The clock stands still, so that strftime_now repeats.
"""

import datetime
import json

import jinja2
from transformers.utils import chat_template_utils


class Clock(datetime.datetime):
    """Saturday, the seventh of March 2026, five past nine and four seconds."""

    @classmethod
    def now(cls, tz=None):
        return cls(2026, 3, 7, 9, 5, 4, 120034)


chat_template_utils.datetime = Clock


def render(source, variables):
    """Renders source with variables; errors become part of the result."""
    try:
        template = chat_template_utils._compile_jinja_template(source)
        out = template.render(**variables)
        out.encode("utf-8")
        return {"o": out}
    except jinja2.exceptions.TemplateError as e:
        kind = type(e).__name__
        return {"e": kind, "m": str(e)} if kind == "TemplateError" else {"e": kind}
    except Exception as e:  # noqa: BLE001 - every other failure counts as one
        return {"e": type(e).__name__}


def line(value):
    """One compact line of JSON, keys in the order given."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n"
