"""Exit 0 if an address answers 200 within eight seconds: `healthcheck.py http://...`."""

import sys
import urllib.error
import urllib.request

try:
    with urllib.request.urlopen(sys.argv[1], timeout=8) as answer:
        sys.exit(0 if answer.status == 200 else f"{sys.argv[1]} answers {answer.status}")
except urllib.error.HTTPError as error:
    sys.exit(f"{sys.argv[1]} answers {error.code}: {error.read(300).decode(errors='replace')}")
except OSError as error:
    sys.exit(f"{sys.argv[1]} does not answer: {error}")
