"""Real audits of one case, for tests of what is made of a run folder."""

from dmun_audit.runtime.loading import open_runtime
from dmun_audit.runtime.target_audit import TargetAudit


def audit_of_one_case(config, group):
    """Run the only case of a group to its end, and write the run folder of the audit."""
    (case,) = config.plan.of_group(group.name)
    audit, runtime = TargetAudit(config), open_runtime([config], lambda count: None)
    runner, audit.facts = runtime.runner(config)
    audit.begin()
    audit.keep(runner.record(case))
    audit.conclude()
    audit.end()
    runtime.close()
