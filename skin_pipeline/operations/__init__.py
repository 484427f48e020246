"""The room of operations: what people do with released models, and what they are told.

It takes in what Airflow's tasks, callbacks and pages report, and keeps it in the store: the actions
of people with intent and outcome, and the incidents that alerts are about. It gives the tables of
the audit page and of the model pages. The DAGs, the plugins and the command line call it; no lower
layer does.

The modules, in reading order:

    actions     an action of a person: its intent, written before, and its outcome, written after
    asking      what a person is asked before a promotion or an expensive run, and the answer
    incidents   what people are alerted to: opened, counted, acknowledged, ended
    results     what a task led to, in words
    runbook     what to do about each alert, reason of a refusal and kind of error
    figures     what the steps took on one machine
    costs       what a workflow run is expected to take
    sizing      what a run of any size is expected to take on a number of workers
    spending    what the latest runs of a model took, step by step
    flapping    what comes and goes: how often it must be seen before it is an incident
    labelling   labels that come back, as an action of a person
    siting      profiles of sites, as an action of a person
    site_commands  `site …` on the command line
    audit       the table of all that was done: moves, judgements, approvals, actions
    reading     a store as web pages read it: listed once, and unchanging documents from memory
    lineage     what a version was made from, as documents and as a graph
    comparing   versions side by side: figures on the same images, and what else differs

Importing the room imports none of them.
"""

# ruff: file-ignore[undefined-export] (they are modules, imported when they are used)
__all__ = [
    "actions",
    "asking",
    "audit",
    "comparing",
    "costs",
    "flapping",
    "incidents",
    "labelling",
    "lineage",
    "reading",
    "results",
    "runbook",
    "site_commands",
    "siting",
    "sizing",
    "spending",
]
