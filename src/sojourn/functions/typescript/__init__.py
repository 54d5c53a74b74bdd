"""TypeScript that says what functions take and return, so that browser code is checked by its compiler.

- `api`: the file, which has the functions of an application, each with its arguments and its result
- `annotations`: from a Python annotation to a type of TypeScript, as msgspec has it in JSON
- `models`: the same for a model of Pydantic, from its JSON Schema
- `declarations`: the types that have a name; each is declared once, and no two share one
"""

from sojourn.functions.typescript.api import api_of

__all__ = ["api_of"]
