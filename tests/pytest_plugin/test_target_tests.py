"""Which tests are of which audit's cases: from node ids alone, as workers report them."""

from dataclasses import replace

import pytest
from case_records import record_of
from dossier_files import write_dossier

from dmun_audit.config.resolve import Options
from dmun_audit.config.targets import resolve_all
from dmun_audit.plugin import pytest_report_teststatus
from dmun_audit.pytest_plugin.target_tests import TargetTests, audits_of_test, images_left
from dmun_audit.verdict.vocabulary import AuditVerdict, Verdict

FILE = "audits/test_mine.py"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("targets")


def _resolved(folder, targets=(), knowledge=()):
    options = Options(policy="smoke", store=str(folder), audit_dir=str(folder / "runs"))
    return [TargetTests(config) for config in resolve_all(options, list(targets), list(knowledge))]


@pytest.fixture
def alone(folder):
    """The tests of a session with one target."""
    return _resolved(folder)[0]


@pytest.fixture
def alike(folder):
    """The tests of two targets whose dossiers differ in the target's name alone."""
    golden = write_dossier(folder / "golden.json", "atelier-sunflowers", name="golden sunflowers", aliases=[])
    return _resolved(folder, knowledge=["atelier-sunflowers", golden])


def _cases(tests, *node_ids):
    """The case ids that the tests of these node ids are of."""
    tests.collected(node_ids)
    return [set(tests._node_ids.get(node_id, ())) for node_id in node_ids]


def _names(tests, group):
    return [name for name, _ in tests.cases(group)]


@pytest.mark.parametrize(
    "form",
    [
        "audits/test_mine.py::test[{}]",
        "audits/test_mine.py::TestMine::test[{}]",
        "audits[old]/test_mine[1].py::test[{}]",
        "audits/test_mine.py::test[{}]@group",
        "test_mine.py::test_other_things_test[{}]",
    ],
)
@pytest.mark.parametrize("group", ["controls", "erasure", "adversarial", "retention", "ordering"])
def test_the_test_of_every_case_is_known_by_its_node_id(alone, group, form):
    for name, case in alone.cases(group):
        assert _cases(alone, form.format(name)) == [{case.id}]


@pytest.mark.parametrize(("verdict", "status"), [("INCONCLUSIVE", ("inconclusive", "I")), ("PASS", ("passed", "."))])
def test_a_claim_over_a_group_that_is_undecided_is_no_failed_test(alone, verdict, status):
    pooled = next(case for case in alone.config.plan.cases if case.group == "erasure" and case.pooled)
    alone.audit.pooled = (record_of(alone.config.plan, pooled).with_(verdict=Verdict(verdict)),)
    (report,) = alone.pooled_reports()
    category, letter, (words, _) = pytest_report_teststatus(report)
    assert (category, letter) == status
    assert words.startswith(verdict)


def test_a_test_of_two_cases_is_of_both(alone):
    control, nearby = _names(alone, "controls")[0], _names(alone, "retention")[1]
    both, with_own, between = _cases(
        alone, f"{FILE}::test[{control}-{nearby}]", f"{FILE}::test[my-{nearby}-own]", f"{FILE}::test[{nearby}-7-{control}]"
    )
    assert both == between == {control, nearby}
    assert with_own == {nearby}


def test_a_name_that_holds_a_case_id_among_other_letters_is_of_no_case(alone):
    name = _names(alone, "erasure")[0]
    strange = [
        f"{FILE}::test[x{name}]",
        f"{FILE}::test[{name}x]",
        f"{FILE}::test_{name}",
        f"audits/{name}.py::test",
        f"{FILE}::test",
    ]
    assert _cases(alone, *strange) == [set()] * len(strange)


def test_a_case_whose_id_ends_with_another_cases_id_is_itself_alone(alone):
    plan = alone.config.plan
    short = plan.of_group("erasure")[0]
    long = replace(short, id=f"again-{short.id}")
    tests = TargetTests(replace(alone.config, plan=replace(plan, cases=(*plan.cases, long))))
    assert _cases(tests, f"{FILE}::test[{long.id}]", f"{FILE}::test[{short.id}]") == [{long.id}, {short.id}]


def test_equal_cases_of_two_targets_are_kept_apart(alike):
    first, second = alike
    names = [_names(tests, "retention")[0] for tests in alike]
    cases = [tests.cases("retention")[0][1] for tests in alike]
    assert cases[0].id == cases[1].id
    assert [case.target for case in cases] == ["sunflowers", "golden sunflowers"]
    assert len(set(names)) == 2
    node_ids = [f"{FILE}::test[{name}]" for name in names]
    assert _cases(first, *node_ids) == [{cases[0].id}, set()]
    assert _cases(second, *node_ids) == [set(), {cases[1].id}]
    both = f"{FILE}::test[{names[0]}-{names[1]}]"
    assert _cases(first, both) == _cases(second, both) == [{cases[0].id}]


def test_a_test_belongs_to_the_audit_of_its_case_and_else_to_those_of_its_folder(alike):
    first, second = alike
    node_ids = [
        f"audits/test_a.py::test[{_names(first, 'controls')[0]}]",
        f"more/test_b.py::test[{_names(second, 'controls')[0]}]",
    ]
    for tests in alike:
        tests.collected(node_ids)
    assert audits_of_test(alike, node_ids[0]) == [first]
    assert audits_of_test(alike, node_ids[1]) == [second]
    assert audits_of_test(alike, "audits/test_c.py::test_licence") == [first]
    assert audits_of_test(alike, "elsewhere/test_c.py::test") == []


def test_the_cases_that_no_selected_test_is_of_are_deselected(alone):
    names = _names(alone, "controls")
    alone.collected([f"{FILE}::test[{name}]" for name in names[:2]])
    required = {
        case.id for case in alone.config.plan.cases if not case.pooled and case.group not in ("ordering", "substitute")
    }  # only reported here
    assert alone._deselected() == required - set(names[:2])


def test_the_order_of_verdicts_and_their_exit_codes_are_the_documented_ones():
    codes = {verdict.value: verdict.exit_code for verdict in AuditVerdict}
    assert list(codes.items()) == [("INCOMPLETE", 10), ("FAIL", 1), ("PARTIAL", 11), ("INCONCLUSIVE", 12), ("PASS", 0)]


def test_what_is_left_to_draw_shrinks_with_every_decided_case_and_the_base_counts_once(folder):
    one = _resolved(folder)[0]
    other = TargetTests(replace(one.config, candidate="atelier:noop"))
    nodes = [f"{FILE}::test[{name}]" for group in ("controls", "erasure", "retention") for name in _names(one, group)]
    for tests in (one, other):
        tests.collected(nodes)
    alone, both = images_left([one]).most, images_left([one, other]).most
    of_base = {image for case in one.undecided for image in case.images_of("base")}
    assert both == 2 * alone - len(of_base) < 2 * alone
    left, expected = [alone], [images_left([one]).expected]
    for case in one.undecided:
        one.audit.records[case.id] = record_of(one.config.plan, case)
        left.append(images_left([one]).most)
        expected.append(images_left([one]).expected)
    for numbers in (left, expected):
        assert numbers == sorted(numbers, reverse=True)
        assert numbers[0] > numbers[-1] == 0
