from tests.support.gates_record import gates, record

__all__ = ["gates", "record"]
