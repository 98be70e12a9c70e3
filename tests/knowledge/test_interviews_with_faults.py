"""One whole interview with each fault of a server or a language model: the dossier or the error that is right."""

from dataclasses import replace
from importlib import import_module

import pytest

from dmun_audit._util.errors import UsageError
from dmun_audit.knowledge.build import build_dossier
from dmun_audit.knowledge.check import problems

MODULES = [
    "faults_of_streams",
    "faults_of_servers",
    "faults_of_answers",
    "faults_of_concepts",
    "faults_of_dossiers",
]  # modules in tests/ with a list FAULTS
FAULTS = [fault for module in MODULES for fault in import_module(module).FAULTS]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_an_interview_with_a_fault_ends_as_it_should(fault, brief, access, chat, counter):
    access = replace(access, settings=replace(access.settings, timeout=fault.timeout))
    fault.cause(chat)
    if fault.error:
        with pytest.raises(UsageError, match=fault.error):
            build_dossier(brief, access)
    else:
        dossier = build_dossier(brief, access)
        assert problems(dossier, counter) == []
        if fault.dossier:
            fault.dossier(dossier)
        assert fault.most_extra is None or len(chat.requests) <= dossier.provenance.questions + fault.most_extra
    assert fault.most_requests is None or len(chat.requests) <= fault.most_requests
