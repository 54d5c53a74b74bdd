"""The suites that other projects publish for stores like ours, run unchanged against the adapters.

    python -m tools.upstream                   every suite on every engine it is meant for
    python -m tools.upstream conformance       those whose name begins like this

They are fetched at the versions that `packages` pins, and unpacked into a folder that git ignores; nothing of them is
copied into this project. What cannot pass stands in a table of its suite with the reason, and passing is then an error
too. Each suite is a row of `suites`; it runs in a process of its own, and writes what became of each test.
"""
