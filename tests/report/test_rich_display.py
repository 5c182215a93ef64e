"""A run in a notebook: its table and what may be claimed, names as text."""

from __future__ import annotations

import dataclasses

from interp.report.results import RunResult


def test_a_run_shows_its_table_and_claims_and_hostile_names_stay_text(small_run):
    result: RunResult = dataclasses.replace(small_run.result)
    result.__dict__["warnings"] = ["<script>alert(1)</script>"]
    shown = result._repr_html_()
    assert f"{result.summary.loc['all_heads', 'mean_ood_auc']:.3f}" in shown
    assert shown.count("<li>") == 1 + len(result.claims) == len(result.summary)
    assert "&lt;script&gt;" in shown and "<script" not in shown
