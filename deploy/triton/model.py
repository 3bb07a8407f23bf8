"""Any module version behind Triton: tensors to letters and back; the work is legonn_core's."""

import numpy as np
import triton_python_backend_utils as pb_utils

from legonn_core.errors import LegonnError
from legonn_core.runtime.served_model import start
from legonn_core.runtime.wire import ANSWER, CALL, MARGINALS, SAMPLES, Letter

FINAL, NO_SAMPLES = pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL, np.zeros(0, np.float32)


def letter_of(request):
    got = {tensor.name(): tensor for tensor in request.inputs()}
    strings = {name: got[name].as_numpy().ravel() for name in got.keys() - {SAMPLES}}
    # Numbers come by DLPack, wherever they are; strings have no other way than numpy.
    samples = np.from_dlpack(got[SAMPLES]).ravel() if SAMPLES in got else NO_SAMPLES
    return Letter(strings[CALL][0], samples, tuple(strings.get(MARGINALS, ())))


def response_of(letter, *, shape):
    found = {ANSWER: letter.text}
    if len(shape) == 2:
        found[MARGINALS] = b"".join(letter.blocks)
    tensors = [pb_utils.Tensor(k, np.array([v], object).reshape(shape)) for k, v in found.items()]
    return pb_utils.InferenceResponse(tensors)


class Reply:
    def __init__(self, request):
        self._sender = request.get_response_sender()

    def send(self, letter, *, is_last):
        self._sender.send(response_of(letter, shape=(1,)), flags=FINAL if is_last else 0)

    def is_gone(self):
        return self._sender.is_cancelled()


class TritonPythonModel:
    def initialize(self, args):
        try:
            self.served = start(args)
        except LegonnError as error:
            raise pb_utils.TritonModelException(f"<{error.reason}> {error.message}") from error

    def execute(self, requests):
        if self.served.decoder is None:
            letters = self.served.module.answer([letter_of(request) for request in requests])
            return [response_of(letter, shape=(1, 1)) for letter in letters]
        for request in requests:
            self.served.decoder.submit(letter_of(request), Reply(request))
        return None

    def finalize(self):
        self.served.close()
