"""The inbox: which handler handled which event."""

from django.db import migrations, models
from django.db.models.functions import Now

from domain_event_broker.django.fields import RowAutoField


class Migration(migrations.Migration):
    dependencies = [("domain_event_broker", "0001_outbox")]
    operations = [
        migrations.CreateModel(
            name="InboxEntry",
            fields=[
                ("id", RowAutoField(primary_key=True, serialize=False)),
                ("handler", models.CharField(max_length=255)),
                ("event_id", models.CharField(max_length=255)),
                ("handled_at", models.DateTimeField(db_default=Now())),
            ],
            options={
                "verbose_name_plural": "inbox entries",
                "constraints": [
                    models.UniqueConstraint(fields=("handler", "event_id"), name="deb_inbox_once")
                ],
            },
        ),
    ]
