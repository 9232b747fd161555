"""The device that a request comes to, with errors in our own words."""

from __future__ import annotations

from meanfield.errors import Infeasible, InvalidInput
from meanfield.sampling.devices import Device, DeviceChoice, NoDevice, choose_device


def device_for(device: DeviceChoice) -> Device:
    """The device that a choice comes to.

    Raises:
        InvalidInput: if there is no such choice.
        Infeasible: if CUDA is asked for and there is none.
    """
    try:
        return choose_device(device)
    except NoDevice as error:
        raise Infeasible(f"device: {error}") from error
    except ValueError as error:
        raise InvalidInput(f"device: {error}") from error
