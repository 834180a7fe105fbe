"""Exchanges, queues and what waits in them: the database transport."""

from django.db import migrations, models
from django.db.models.functions import Now


class Migration(migrations.Migration):
    dependencies = [("domain_event_broker", "0002_inbox")]
    operations = [
        migrations.CreateModel(
            name="Exchange",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=255, unique=True)),
                ("type", models.CharField(max_length=16)),
                ("version", models.PositiveBigIntegerField(default=0)),
            ],
        ),
        migrations.CreateModel(
            name="Queue",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=255, unique=True)),
                ("durable", models.BooleanField(default=True)),
                ("exclusive", models.BooleanField(default=False)),
                ("auto_delete", models.BooleanField(default=False)),
                ("owner", models.CharField(default="", max_length=32)),
                ("consumers", models.PositiveIntegerField(default=0)),
                ("expires_at", models.DateTimeField(null=True)),
            ],
        ),
        migrations.CreateModel(
            name="Binding",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("key", models.CharField(max_length=255)),
                (
                    "exchange",
                    models.ForeignKey(
                        on_delete=models.CASCADE,
                        related_name="bindings",
                        to="domain_event_broker.exchange",
                    ),
                ),
                (
                    "queue",
                    models.ForeignKey(
                        on_delete=models.CASCADE,
                        related_name="bindings",
                        to="domain_event_broker.queue",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("exchange", "queue", "key"), name="deb_binding_once"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="QueuedMessage",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("event_id", models.CharField(max_length=255)),
                ("routing_key", models.CharField(max_length=255)),
                ("body", models.BinaryField()),
                ("properties", models.TextField()),
                ("due_at", models.DateTimeField(db_default=Now(), null=True)),
                ("lease_token", models.CharField(db_default="", max_length=32)),
                ("crashes", models.PositiveIntegerField(db_default=0)),
                (
                    "queue",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=models.CASCADE,
                        related_name="messages",
                        to="domain_event_broker.queue",
                    ),
                ),
            ],
            options={
                "indexes": [models.Index(fields=["queue", "due_at", "id"], name="deb_queue_due")],
            },
        ),
    ]
