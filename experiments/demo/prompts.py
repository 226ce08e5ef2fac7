"""The hand-written prompts of the demonstration, from careless to careful. Written on train rows only."""

from dataclasses import dataclass

QUEUES = (
    "account",
    "card order",
    "card payment",
    "cash withdrawal",
    "currency exchange",
    "identity check",
    "lost or stolen",
    "pin and passcode",
    "refund",
    "top up",
    "transfer",
    "virtual card",
)


@dataclass(frozen=True)
class Wording:
    """A prompt as a person would type it."""

    name: str
    description: str
    user: str
    answer_cue: str


BARE = Wording(
    name="Bare question",
    description="What somebody types in the first minute: the message and nothing about the queues.",
    user="Which support queue should answer this message?\n{{text}}",
    answer_cue="Queue:",
)
OPTIONS = Wording(
    name="With the queues listed",
    description="The same question with every possible answer spelled out.",
    user=f"Which support queue should answer this message? Choose from: {', '.join(QUEUES)}.\nMessage: {{{{text}}}}",
    answer_cue="Queue:",
)
CAREFUL = Wording(
    name="Careful wording",
    description="The queues listed the way the model was taught to read options, with the task said in plain words.",
    user=(f"A customer of a bank wrote a message. Decide what the message is about.\nOptions: {'; '.join(QUEUES)}\nMessage: {{{{text}}}}"),
    answer_cue="Answer:",
)
WORDINGS = (BARE, OPTIONS, CAREFUL)
