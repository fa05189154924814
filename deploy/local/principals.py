"""Who logs in at the local Kafka: a principal for each service, one for the command line, one for whoever tries it."""

from __future__ import annotations

from countersign.contract import AccessRequested, MemberSet
from countersign.contract.topic_files import topic_files
from countersign.operations.rights import GROUP_PREFIX, OPERATOR, Operation, Pattern, Resource, Right, wanted_rights
from deploy.local.postgres import ROLES

TEST = "test"
PRINCIPALS = (*ROLES, OPERATOR, TEST)


def local_rights() -> frozenset[Right]:
    """Return the rights of everybody here."""
    return wanted_rights() | _of_test()


def _of_test() -> set[Right]:
    """Return what a person or a program may do that tries the stack: what the platform does, and read everything.

    Under groups of its own only: as a member of a service's group it would take partitions away from the service.
    """
    written = (AccessRequested.topic, MemberSet.topic)
    return {
        *(Right(TEST, Operation.WRITE, Resource.TOPIC, topic) for topic in written),
        *(
            Right(TEST, operation, Resource.TOPIC, topic.topic)
            for topic in topic_files()
            for operation in (Operation.READ, Operation.DESCRIBE_CONFIGS)
        ),
        Right(TEST, Operation.READ, Resource.GROUP, "*"),
        Right(TEST, Operation.READ, Resource.GROUP, GROUP_PREFIX, Pattern.PREFIXED, denied=True),
    }
