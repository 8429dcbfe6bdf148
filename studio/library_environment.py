"""Environment variables of libraries, set before these are imported.

An operator's own value stays. Nothing of ours is handed on by the environment: `Settings` are.
"""

import os


def set_for_page() -> None:
    """Set what gradio and its server read."""
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    if os.environ.get("SPACE_ID"):  # a Space is reached through its platform's proxy, which says whom it serves
        os.environ.setdefault("FORWARDED_ALLOW_IPS", "*")


def set_for_engine() -> None:
    """Set what torch and its libraries read."""
    # Threads that wait for each other spin for some microseconds, then sleep. On two cores with nothing else to do, a
    # clip of 16 frames took 3.3 s with it and 4.3 s where they sleep at once (OMP_WAIT_POLICY=PASSIVE); beside another
    # busy program 5.6 to 6.4 s and 5.3 s. OpenMP's own 300,000 rounds were once measured to make two threads several
    # times slower than one there.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    # With two threads MKL's products differ by 1e-7 with the address of the weights; a recipe must give the same
    # frames in every process, so it is asked for the same bits.
    os.environ.setdefault("MKL_CBWR", "AUTO")
    # An operation that Apple's or Intel's backend lacks is computed on the CPU, in the place of ending the clip.
    os.environ.setdefault("PYTORCH_ENABLE_MPS_FALLBACK", "1")
    os.environ.setdefault("PYTORCH_ENABLE_XPU_FALLBACK", "1")


def hide_download_bars() -> None:
    """Set what keeps the Hub's client from drawing bars."""
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
