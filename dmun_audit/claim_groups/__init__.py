"""Claim groups: erasure, adversarial, retention, the controls and the ordering, one file each.

A claim group is one object (`group.ClaimGroup`). It plans its cases, determines which images are drawn, turns each image into
an outcome, decides single cases and the whole group, and writes the sentences. A new group is one new file here that defines
`GROUP`; `registry` finds it. Other packages register groups under the entry point `dmun_audit.claim_groups`.
"""
