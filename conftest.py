"""The repository root comes first on the path, so that `envs` and `trainer` are these; property tests are not timed."""

import signal
import sys
from pathlib import Path

from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).parent))

# Speed is measured in bench/: a property holds or does not, however busy the machine is.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

# A run that was started in the background ignores Ctrl-C, and so would its children: tests send it.
signal.signal(signal.SIGINT, signal.default_int_handler)
