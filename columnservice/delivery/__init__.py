"""From a request to an Arrow stream: plan, look up, materialise, assemble, prove."""
