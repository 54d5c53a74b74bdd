"""How the pages look: one column on a quiet ground, in light and dark; an application may give a style of its own."""

from __future__ import annotations

from typing import Final

__all__ = ["ICON", "STYLE"]

ICON: Final = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32'%3E"
    "%3Cpath fill='%23f0b43c' d='M6 4h8c9 0 13 5 13 12s-4 12-13 12H6z'/%3E%3C/svg%3E"
)
"""The icon of the pages, which fetches nothing."""

STYLE: Final = """
:root {
  color-scheme: light dark;
  --ground: #e3e9e4;
  --ink: #16302c;
  --soft: #4a605b;
  --rule: #b4c2bb;
  --paper: #fbfcf9;
  --pine: #1e4b44;
  --on-pine: #fbfcf9;
  --sun: #f0b43c;
  --red: #b8381f;
  --on-red: #fff;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #101b19;
    --ink: #e6eee9;
    --soft: #a3b6ae;
    --rule: #34483f;
    --paper: #1a2926;
    --pine: #8fc5b2;
    --on-pine: #10201c;
    --red: #ff9076;
    --on-red: #2b0c04;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0;
  background: var(--ground);
  color: var(--ink);
  font: 1.0625rem/1.5 "Gill Sans Nova", "Gill Sans", "Gill Sans MT", Seravek, Candara, Cantarell, "Noto Sans",
    "Segoe UI", sans-serif;
  font-variant-numeric: tabular-nums;
  overflow-wrap: anywhere;
  -webkit-text-size-adjust: 100%;
}
main { display: grid; gap: 1.25rem; max-width: 38rem; margin: 0 auto; padding: clamp(1.5rem, 7vh, 5rem) 1rem 3rem; }
h1, p, fieldset { margin: 0; padding: 0; border: 0; min-width: 0; }
p { white-space: pre-line; text-wrap: pretty; }
a { color: inherit; text-underline-offset: .2em; }
.brand { padding: 0 .25rem; color: var(--soft); font-weight: 600; }
.brand::before {
  content: "";
  display: inline-block;
  width: .625rem;
  height: .625rem;
  margin: 0 .625rem .0625rem 0;
  border-radius: 50%;
  background: var(--sun);
}
.card {
  display: grid;
  gap: 1rem;
  padding: clamp(1.5rem, 5vw, 2.5rem) clamp(1.25rem, 5vw, 2.5rem);
  border-radius: 16px;
  background: var(--paper);
}
h1 { font-size: clamp(1.5rem, 5vw, 2rem); font-weight: 600; line-height: 1.2; text-wrap: balance; }
.small, small { color: var(--soft); font-size: .9375rem; }
.small { padding: 0 .25rem; }
.card .small { padding: 0; }
.over { padding-top: 1rem; border-top: 2px dashed var(--rule); color: var(--soft); }
.told {
  display: grid;
  gap: .25rem;
  padding: .75rem 1.25rem;
  border-radius: 12px;
  background: var(--ink);
  color: var(--ground);
}
.told[role="alert"] { background: var(--red); color: var(--on-red); }
form { display: grid; gap: 1rem; }
.card > form:first-of-type { margin-top: .5rem; }
.card > form + form { margin-top: .25rem; padding-top: 1.25rem; border-top: 1px solid var(--rule); }
.row { display: flex; flex-wrap: wrap; gap: .625rem; }
button, .button {
  display: inline-block;
  min-height: 2.75rem;
  max-width: 100%;
  padding: .5rem 1.25rem;
  border: 2px solid var(--pine);
  border-radius: 22px;
  background: none;
  color: var(--pine);
  font: inherit;
  font-weight: 600;
  line-height: 1.3;
  text-align: center;
  text-decoration: none;
  overflow-wrap: anywhere;
  cursor: pointer;
}
.primary, .success { background: var(--pine); color: var(--on-pine); }
button:hover, .button:hover { background: var(--pine); color: var(--on-pine); }
.primary:hover, .success:hover { background: none; color: var(--pine); }
.danger { border-color: var(--red); color: var(--red); }
.danger:hover { background: var(--red); color: var(--on-red); }
button:disabled { border-color: var(--rule); background: none; color: var(--soft); cursor: default; }
:focus-visible { outline: 3px solid var(--ink); outline-offset: 3px; border-radius: 6px; }
button:focus-visible, .button:focus-visible { border-radius: 22px; }
fieldset { display: grid; gap: .75rem; }
legend { margin-bottom: .75rem; padding: 0; font-weight: 600; }
.option {
  display: grid;
  grid-template-columns: auto minmax(0, 1fr);
  gap: .75rem;
  padding: .625rem 1rem;
  border: 2px solid var(--rule);
  border-radius: 12px;
  cursor: pointer;
}
.option:hover, .option:has(:checked) { border-color: var(--pine); }
.option input { width: 1.25rem; height: 1.25rem; margin: .125rem 0 0; accent-color: var(--pine); }
.option small { display: block; }
fieldset:disabled .option { color: var(--soft); cursor: default; }
fieldset:disabled .option:hover { border-color: var(--rule); }
.field { display: grid; gap: .25rem; font-weight: 600; }
.field small { font-weight: 400; }
input[type="text"], textarea {
  width: 100%;
  min-height: 2.75rem;
  padding: .5rem .875rem;
  border: 2px solid var(--soft);
  border-radius: 10px;
  background: var(--paper);
  color: var(--ink);
  font: inherit;
  resize: vertical;
}
"""
"""The style that the pages have where an application gives none."""
