"""Checks the manifest and the split with Great Expectations, and writes pages about it.

It takes in a table, and gives a `Check` for each expectation; the pages (Data Docs) go into a
folder. The tasks `validate` and `split` call it. Great Expectations takes seconds to import, so
nothing else imports it, and here too it is imported only when there is something to check.

    running          runs a suite over a table
    manifest_suite   what is expected of the images
    split_suite      what is expected of the split
    wording          how an expectation is named and reasoned
    expectations     expectations of our own
    findings         a result of Great Expectations in words
    docs             the pages
"""

from skin_pipeline.data.validation.running import check_manifest, check_split, log_checks

__all__ = ["check_manifest", "check_split", "log_checks"]
