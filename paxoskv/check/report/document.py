"""One HTML file that needs nothing else: a template with a style sheet, scripts and data put into its {{places}}.

Films (`paxoskv.film`) are such files, too.
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from importlib import resources


def parts(package: str, style: str, scripts: Sequence[str]) -> dict[str, str]:
    """What fills the places `style`, `script` and `policy`: resources of a package, and a content security policy.

    The policy forbids that anything were fetched, or a script run that is not one of these. elements.js, beside this
    module, comes before the package's own scripts.
    """
    styles = resource(package, style)
    script = (
        '"use strict";\n' + resource(__package__, "elements.js") + "".join(resource(package, name) for name in scripts)
    )
    policy = (
        f"default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; "
        f"script-src '{_hash(script)}'; style-src '{_hash(styles)}'"
    )
    return {"style": styles, "script": script, "policy": policy}


def resource(package: str, name: str) -> str:
    """A text file of a package."""
    return resources.files(package).joinpath(name).read_text(encoding="utf-8")


def filled(template: str, fills: Mapping[str, str]) -> str:
    """The template with its {{places}} filled. What fills them is not looked at again."""
    pieces = template.split("{{")
    done = [pieces[0]]
    for piece in pieces[1:]:
        name, _, rest = piece.partition("}}")
        done += [fills[name], rest]
    return "".join(done)


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
