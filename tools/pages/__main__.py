"""`python -m tools.pages` writes the pages; with --check it only says which are out of date."""

import sys

from tools.pages import ROOT, pages, stale


def main() -> int:
    """Write or check; 1 when something has to be done."""
    try:
        outdated = stale()
        if "--check" not in sys.argv[1:]:
            for page in outdated:
                (ROOT / page).parent.mkdir(exist_ok=True)
                (ROOT / page).write_text(pages()[page](), encoding="utf-8")
                print(f"wrote {page}")
            return 0
    except ValueError as problem:
        print(problem, file=sys.stderr)
        return 1
    for page in outdated:
        print(f"{page} is out of date: run `make pages`", file=sys.stderr)
    return 1 if outdated else 0


if __name__ == "__main__":
    sys.exit(main())
