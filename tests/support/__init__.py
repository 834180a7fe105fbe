"""What the tests lean on: private RabbitMQ nodes, waiting on conditions, free ports."""
