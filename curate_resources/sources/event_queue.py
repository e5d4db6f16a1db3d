"""An SQS queue with notifications of S3."""

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from curate_resources.storage.profiles import aws_client
from curate_resources.storage.stored_object import StorageUnavailable

_AT_ONCE = 10
"""How many messages SQS gives, or forgets, at a time."""

_HIDDEN_SECONDS = 300
"""For so long a message that was received is not given to anybody again; a look is through by then."""

_WAIT_SECONDS = 1
"""Without any, SQS asks only some of its servers, and says that there is nothing."""


@dataclass(frozen=True)
class Message:
    """One message, and with what it is deleted."""

    id: str
    receipt: str
    body: str


@dataclass(frozen=True)
class EventQueue:
    """A queue by its URL.

    Attributes:
        account: a URI whose credentials are used, or the name of a storage profile.
    """

    url: str
    account: str

    def received(self) -> Iterator[list[Message]]:
        """Messages, a few at a time, until there are no more that were not given before.

        Raises:
            StorageUnavailable: the queue does not answer, or refuses.
        """
        seen: set[str] = set()
        while True:
            with self._told():
                answer = self.client.receive_message(
                    QueueUrl=self.url,
                    MaxNumberOfMessages=_AT_ONCE,
                    WaitTimeSeconds=_WAIT_SECONDS,
                    VisibilityTimeout=_HIDDEN_SECONDS,
                )
            messages = [
                Message(each["MessageId"], each["ReceiptHandle"], each["Body"]) for each in answer.get("Messages", ())
            ]
            new = [each for each in messages if each.id not in seen]
            if not new:
                return
            seen.update(each.id for each in new)
            yield new

    def delete(self, receipts: Sequence[str]) -> None:
        """Forget messages. Those that are not forgotten come again.

        Raises:
            StorageUnavailable: the queue does not answer, or refuses.
        """
        for start in range(0, len(receipts), _AT_ONCE):
            some = receipts[start : start + _AT_ONCE]
            with self._told():
                self.client.delete_message_batch(
                    QueueUrl=self.url,
                    Entries=[{"Id": str(number), "ReceiptHandle": receipt} for number, receipt in enumerate(some)],
                )

    def attributes(self) -> dict[str, str]:
        """What is known of the queue, such as `QueueArn` and `ApproximateNumberOfMessages`.

        Raises:
            StorageUnavailable: the queue does not answer, or refuses.
        """
        with self._told():
            return self.client.get_queue_attributes(QueueUrl=self.url, AttributeNames=["All"])["Attributes"]

    @cached_property
    def client(self) -> Any:
        """AWS's client for it; the queue's URL also says where the service is."""
        scheme, _, rest = self.url.partition("://")
        return aws_client("sqs", self.account, f"{scheme}://{rest.partition('/')[0]}")

    @contextmanager
    def _told(self) -> Generator[None, None, None]:
        import botocore.exceptions

        try:
            yield
        except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
            raise StorageUnavailable(f"queue {self.url}: {error}") from error
