"""Dead letters in a table, and replays in the outbox."""

from django.db import migrations, models
from django.db.models.functions import Now


class Migration(migrations.Migration):
    dependencies = [("domain_event_broker", "0003_queues")]
    operations = [
        migrations.CreateModel(
            name="DeadLetter",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("identity", models.CharField(max_length=255, unique=True)),
                ("handler", models.CharField(max_length=255)),
                ("event_id", models.CharField(max_length=255)),
                ("routing_key", models.CharField(max_length=255)),
                ("body", models.BinaryField()),
                ("properties", models.TextField()),
                ("reason", models.CharField(default="", max_length=255)),
                ("error_type", models.CharField(default="", max_length=255)),
                ("error_message", models.TextField(default="")),
                ("error_place", models.CharField(default="", max_length=255)),
                ("traceback", models.TextField(default="")),
                ("attempts", models.PositiveIntegerField(null=True)),
                ("first_failed_at", models.DateTimeField(null=True)),
                ("failed_at", models.DateTimeField(db_default=Now())),
                ("host", models.CharField(default="", max_length=255)),
                ("process_id", models.PositiveBigIntegerField(null=True)),
                ("app_version", models.CharField(default="", max_length=255)),
                ("collected_at", models.DateTimeField(db_default=Now())),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("waiting", "Waiting"),
                            ("replayed", "Replayed"),
                            ("discarded", "Discarded"),
                        ],
                        default="waiting",
                        max_length=16,
                    ),
                ),
                ("settled_at", models.DateTimeField(null=True)),
                ("settled_by", models.CharField(default="", max_length=255)),
            ],
            options={
                "indexes": [
                    models.Index(fields=["state", "handler", "id"], name="deb_dead_letter_state")
                ],
            },
        ),
        migrations.AddField(
            model_name="outboxevent",
            name="handler",
            field=models.CharField(db_default="", max_length=255),
        ),
    ]
