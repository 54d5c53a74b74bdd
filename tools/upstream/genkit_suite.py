"""Which of Genkit's own tests run on sojourn, and which cannot pass.

They are those of its agents, as its source distribution holds them. `agent_conformance_test.py` is left out: it reads a
file that the distribution does not hold.
"""

from __future__ import annotations

from typing import Final

__all__ = ["EXCEPTIONS", "FILES", "PLUGIN"]

PLUGIN: Final = "tools.upstream.genkit_plugin"
"""What `pytest -p` loads."""

FILES: Final = tuple(
    f"tests/genkit/ai/{name}_test.py"
    for name in (
        "agent_chat_client",
        "agent_detach",
        "agent_http_transport",
        "agent_http_wire",
        "agent_init_funnel",
        "agent_load_session",
        "agent_preamble",
        "agent_resume_validation",
        "agent_session_stores",
        "agent_snapshot",
        "agent_state_schema_server",
        "agent_transports",
        "agent_turn_context",
        "agent_turn_span",
        "exp_agents_import",
    )
)
"""The files, from the folder of the distribution."""

_PRIVATE: Final = "it looks into `subs`, a private mapping of the store that sojourn takes the place of"

EXCEPTIONS: Final = {
    f"tests/genkit/ai/agent_session_stores_test.py::{name}": _PRIVATE
    for name in (
        "test_status_subscription_aclose_unsubscribes",
        "test_status_subscription_already_terminal_ends",
        "test_status_subscription_observes_abort",
        "test_status_subscription_waits_for_missing_snapshot",
    )
}
"""What cannot pass, and why; one that passes is as much of a surprise as another that fails."""
