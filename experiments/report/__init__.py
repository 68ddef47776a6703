"""The course report: results by name in the student's own text, as PDF and as a page."""
