"""What the scripted endpoint of a hosted model answers, and a job done to its end."""

from experiments.models import Job
from tests.workers.endpoint.server import Answer, completion
from workers.tasks import execute_job

KEY = "sk-secret-of-a-test"
FACTS = {"protocol": "chat", "token_field": "max_tokens", "has_temperature": True, "top_logprobs": 0}


def by_message(asked) -> Answer:
    """The right answer of a careful model."""
    text = asked["messages"][-1]["content"].split("Message:")[-1]
    return Answer(completion("refund" if any(word in text for word in ("refund", "payment", "money")) else "delivery"))


def do(job: Job) -> Job:
    execute_job(str(job.pk))
    job.refresh_from_db()
    return job
