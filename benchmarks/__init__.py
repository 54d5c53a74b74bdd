"""What sojourn costs, as ratios to a plain program in the same run.

    make bench                                   every row; writes docs/reference/performance.md
    python -m benchmarks commits http            some rows, printed only
    python -m benchmarks --quick                 every row for a moment: proves that they run, not how fast

One module is one row. Each alternates what it compares, round by round, because a machine is never equally fast for
long: a ratio is taken within a round, and the median over the rounds is the figure.
"""
