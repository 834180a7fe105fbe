from django.apps import AppConfig


class ReportingConfig(AppConfig):
    name = "example_project.reporting"
    label = "reporting"
