"""Who asks for the engine while another thread imports it waits, and gets it whole."""

import subprocess
import sys

# The warming thread is let far enough into its import that diffusers is half there: torch takes longer than that.
CODE = """
import sys, time
from studio.engine_start import STATE, import_engine, warm
thread = warm()
while "diffusers" not in sys.modules and thread.is_alive():
    time.sleep(0.001)
{guard}
from diffusers import SchedulerMixin
thread.join()
print(STATE.status)
"""


def run(guard: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", CODE.format(guard=guard)], capture_output=True, text=True, check=False)


def test_a_click_during_the_start_waits_for_the_engine():
    assert run("import_engine()").stdout == "ready\n"


def test_without_waiting_it_would_be_half_imported():
    assert "cannot import name 'SchedulerMixin'" in run("").stderr
