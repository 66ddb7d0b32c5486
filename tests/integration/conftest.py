from harness.start import broker, frees_memory, start_broker  # noqa: F401 (fixtures)
from harness.service import attach  # noqa: F401
from harness.framework import serve  # noqa: F401
