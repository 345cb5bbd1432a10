"""Fails if the pytest run of a JUnit report skipped a test or found none: all_ran.py REPORT."""

import sys
import xml.etree.ElementTree as tree

suite = tree.parse(sys.argv[1]).getroot().find("testsuite")
tests, skipped = int(suite.get("tests")), int(suite.get("skipped"))
sys.exit(f"not every test ran: {tests} found, {skipped} skipped" if not tests or skipped else 0)
