"""The outbox: events of committed transactions that the broker has not confirmed yet."""

from django.db import migrations, models
from django.db.models.functions import Now


class Migration(migrations.Migration):
    initial = True
    dependencies = []
    operations = [
        migrations.CreateModel(
            name="OutboxEvent",
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
                ("created_at", models.DateTimeField(db_default=Now())),
                ("attempts", models.PositiveIntegerField(db_default=0)),
                ("error", models.TextField(db_default="")),
            ],
            options={
                "indexes": [models.Index(fields=["due_at", "id"], name="deb_outbox_due")],
            },
        ),
    ]
