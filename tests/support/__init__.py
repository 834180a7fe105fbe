"""What the tests lean on: private RabbitMQ nodes and PostgreSQL clusters, waiting, free ports."""
