from harness.start import broker, start_broker  # noqa: F401 (fixtures)
from harness.service import attach  # noqa: F401
from harness.framework import serve  # noqa: F401
