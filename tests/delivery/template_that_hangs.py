"""A template that never has loaded."""

import time

time.sleep(3600)
