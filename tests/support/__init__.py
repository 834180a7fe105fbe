"""What the tests lean on: private RabbitMQ nodes and PostgreSQL clusters, threads, waiting."""
