"""Pickles that would run code, written opcode by opcode: the kinds that published corpora of malicious pickles hold."""

from __future__ import annotations

import collections
import io
import pickle
import pickletools
import re
import struct
import zipfile

import torch

CALLS = re.findall(
    r"\S+",
    """
os.system posix.system nt.system os.popen os.execvp os.spawnl os.remove os.putenv subprocess.Popen subprocess.check_output
subprocess.run subprocess.getoutput builtins.eval builtins.exec builtins.compile builtins.getattr builtins.setattr
builtins.__import__ builtins.open builtins.breakpoint builtins.globals __builtin__.eval __builtin__.execfile commands.getoutput
runpy._run_code runpy.run_path runpy.run_module asyncio.unix_events._UnixSubprocessTransport._start
asyncio.subprocess.create_subprocess_shell webbrowser.open socket.create_connection ctypes.CDLL ctypes.pythonapi
importlib.import_module importlib.machinery.SourceFileLoader pkgutil.resolve_name pty.spawn bdb.Bdb.run pdb.run pdb.Pdb
idlelib.pyshell.ModifiedInterpreter.runcode idlelib.debugobj.ObjectTreeItem.SetText timeit.timeit cProfile.runctx profile.run
trace.Trace.runctx pip.main pip._internal.main ensurepip._run_pip venv.create torch.hub.load torch.load
torch.serialization.load torch.jit.load torch.package.PackageImporter torch._dynamo.guards.GuardBuilder.get
torch.fx.experimental.symbolic_shapes.ShapeEnv.evaluate_guards_expression torch.utils.collect_env.run
torch.utils._config_module.ConfigModule.load_config torch.utils.bottleneck.__main__.run_cprofile
torch.jit.unsupported_tensor_ops.execWrapper torch.distributed.rpc.rpc_sync torch.storage._load_from_bytes
numpy.testing._private.utils.runstring numpy.load numpy.f2py.crackfortran.getlincoef functools.partial functools.reduce
operator.attrgetter operator.methodcaller types.FunctionType types.CodeType types.MethodType marshal.loads shutil.rmtree
pathlib.Path pathlib.PosixPath.write_text tempfile.NamedTemporaryFile codecs.encode _codecs.encode pickle.loads _pickle.loads
shelve.open dill.loads cloudpickle.cloudpickle._make_function joblib.load pandas.read_pickle multiprocessing.util.spawnv_passfds
code.InteractiveInterpreter.runcode code.interact pydoc.pipepager doctest.debug_script lib2to3.pgen2.grammar.Grammar.loads
distutils.file_util.write_file http.client.HTTPSConnection urllib.request.urlopen requests.api.get aiohttp.client.ClientSession
smtplib.SMTP ftplib.FTP sqlite3.connect ssl.get_server_certificate sys.settrace logging.config.listen signal.signal
gc.get_objects test.support.script_helper.assert_python_ok uuid._get_command_stdout imaplib.IMAP4_stream zipfile.ZipFile
tarfile.open _io.FileIO io.open _osx_support._read_output _aix_support._read_cmd_output _pyrepl.pager.pipe_pager
copyreg.add_extension collections.namedtuple transformers.pipeline diffusers.DiffusionPipeline.from_pretrained
""",
)
"""What the pickles call. Many of these names run code themselves; the others carry it, fetch it, or write files."""

SUFFIXES = (".pt", ".bin", ".ckpt", ".pth")


def text(value: str) -> bytes:
    """The opcode BINUNICODE."""
    encoded = value.encode()
    return b"X" + struct.pack("<I", len(encoded)) + encoded


def named(called: str) -> bytes:
    """The opcode GLOBAL for `module.name`."""
    module, _, name = called.rpartition(".")
    return f"c{module}\n{name}\n".encode()


def on_the_stack(called: str) -> bytes:
    """The opcode STACK_GLOBAL for `module.name`."""
    module, _, name = called.rpartition(".")
    return text(module) + text(name) + b"\x93"


def state_dict_with(value: bytes, protocol: int = 2) -> bytes:
    """A pickled dictionary that holds what the opcodes `value` leave on the stack."""
    start = b"\x80" + bytes([protocol]) if protocol >= 2 else b""
    return start + b"}" + text("x") + value + b"s."


def archive(pickled: bytes, name: str = "archive/data.pkl") -> bytes:
    """A file as torch.save writes it, around one pickle."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        file.writestr(name, pickled)
        file.writestr("archive/version", b"3\n")
    return stream.getvalue()


def write_calls(folder, marker):
    """One file for each callable, under changing opcodes, protocols, containers and suffixes."""
    argument = text(f"touch {marker}")
    for number, called in enumerate(CALLS):
        module, _, name = called.rpartition(".")
        ways = [
            named(called) + argument + b"\x85R",
            on_the_stack(called) + argument + b"\x85R",
            b"(" + argument + f"i{module}\n{name}\n".encode(),
            b"(" + named(called) + argument + b"o",
            named(called) + argument + b"\x85\x81",
            on_the_stack(called) + argument + b"\x85}\x92",
        ]
        pickled = state_dict_with(ways[number % len(ways)], 2 + number % 4)
        contained = archive(pickled) if number % 3 else pickled
        (folder / f"call-{called}{SUFFIXES[number % len(SUFFIXES)]}").write_bytes(contained)


def write_tricks(folder, marker):
    """Pickles that hide what they call, or where."""
    command = text(f"touch {marker}")
    system = named("os.system") + command + b"\x85R"
    memo = text("os") + b"q\x00" + text("system") + b"q\x01" + text("torch") + text("Size") + b"00h\x00h\x01\x93" + command
    good = pickle.dumps({}, protocol=2)
    nested = pickle.dumps(state_dict_with(system), protocol=2)
    files = {
        "protocol-0.pt": f"cos\nsystem\n(S'touch {marker}'\ntR.".encode(),
        "protocol-1.pt": b"cos\nsystem\n(U\x04true" + b"tR.",
        "protocol-5-frame.pt": b"\x80\x05\x95" + struct.pack("<Q", 1 << 40) + on_the_stack("os.system") + command + b"\x85R.",
        "protocol-9.pt": b"\x80\x09}.",
        "names-from-the-memo.pt": state_dict_with(memo + b"\x85R", 4),
        "names-memoized.pt": state_dict_with(text("os") + b"\x94" + text("system") + b"\x94\x93" + command + b"\x85R", 4),
        "popped-result.pt": b"\x80\x02" + system + b"0}.",
        "result-behind-a-mark.pt": b"\x80\x02(" + system + b"1}.",
        "duplicated-call.pt": b"\x80\x02" + named("os.system") + b"2" + command + b"\x85R}.",
        "build-with-setstate.pt": state_dict_with(
            named("torch.Size") + b")\x81}" + text("__setstate__") + named("os.system") + b"sb" + command + b"b"
        ),
        "extension-1.pt": state_dict_with(b"\x82\x01" + command + b"\x85R"),
        "extension-2.pt": state_dict_with(b"\x83\x01\x00" + command + b"\x85R"),
        "extension-4.pt": state_dict_with(b"\x84\x01\x00\x00\x00" + command + b"\x85R"),
        "persistent-id.pt": state_dict_with(system + b"Q"),
        "dotted-name.pt": state_dict_with(b"ctorch\nos.system\n" + command + b"\x85R"),
        "harmless-prefix.pt": state_dict_with(b"ctorch._utils\n_rebuild_tensor_v2.__globals__\n"),
        "spaces-in-the-name.pt": state_dict_with(b"ctorch\nSize os system\n"),
        "line-in-the-name.pt": state_dict_with(text("torch Size\nos") + text("system") + b"\x93" + command + b"\x85R", 4),
        "capital-letters.pt": state_dict_with(b"cOS\nSystem\n"),
        "unicode-name.pt": state_dict_with("cо\ns\n".encode()),
        "second-after-stop.pt": good + state_dict_with(system),
        "nested-pickle.pt": state_dict_with(named("pickle.loads") + nested[2:-1] + b"\x85R"),
        "pickle-of-zeros.pt": bytes(4096),
        "no-stop.pt": state_dict_with(b"N")[:-1],
        "empty-stack.pt": b"\x80\x02R.",
        "unknown-opcode.pt": b"\x80\x02\xfe.",
        "memo-of-nothing.pt": b"\x80\x02h\x07.",
        "text-of-a-petabyte.pt": b"\x80\x04\x8d" + struct.pack("<Q", 1 << 50) + b"x.",
        "bytes-of-a-petabyte.pt": b"\x80\x05\x96" + struct.pack("<Q", 1 << 50) + b"x.",
        "number-without-end.pt": b"\x80\x02\x8b\xff\xff\xff\x7fx.",
        "decimal-without-end.pt": b"\x80\x02I" + b"9" * 1_000_000 + b"\n.",
        "memo-of-a-billion.pt": b"\x80\x02}r\xff\xff\xff\x7f.",
        "system-named-model.safetensors": state_dict_with(system),
        "archive-named-model.safetensors": archive(state_dict_with(system)),
    }
    for place in range(1, 6):  # torch's older format: magic number, protocol, system, object, storage keys
        stream = io.BytesIO()
        torch.save({"a": torch.ones(1)}, stream, _use_new_zipfile_serialization=False)
        files[f"legacy-pickle-{place}.pt"] = _with_payload(stream.getvalue(), place, b"\x80\x02" + system + b"0")
    for name, content in files.items():
        (folder / name).write_bytes(content)


def _with_payload(legacy: bytes, place: int, payload: bytes) -> bytes:
    """The bytes of a file in torch's older format, with `payload` at the start of its pickle number `place`."""
    stream = io.BytesIO(legacy)
    for _ in range(place - 1):
        collections.deque(pickletools.genops(stream), maxlen=0)
    position = stream.tell()
    return legacy[:position] + payload + legacy[position + 2 :]
