"""When things happen: clocks, the schedule of requests, the cloud's availability."""
