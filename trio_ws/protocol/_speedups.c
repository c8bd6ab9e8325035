/* The parts of the protocol core that are worth a compiler.
 *
 * Each function here has a pure-Python twin that defines what it does; tests compare the two.
 * Only the stable ABI is used, so one build serves every Python from 3.11 on.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdint.h>
#include <string.h>

/* The first bytes of frames that are whole messages: FIN, and text or binary. */
#define TEXT_MESSAGE 0x81
#define BINARY_MESSAGE 0x82
/* Texts up to this size are unmasked on the stack. */
#define SCRATCH 4096

/* XOR `size` bytes with a repeating four-byte key. Eight bytes at a time; memcpy keeps unaligned
 * access defined, and compilers turn the loop into vector instructions. */
static void
xor_mask(unsigned char *out, const unsigned char *in, Py_ssize_t size, const unsigned char key[4])
{
    uint64_t wide;
    memcpy(&wide, key, 4);
    memcpy((unsigned char *)&wide + 4, key, 4);

    Py_ssize_t at = 0;
    for (; at + 8 <= size; at += 8) {
        uint64_t word;
        memcpy(&word, in + at, 8);
        word ^= wide;
        memcpy(out + at, &word, 8);
    }
    for (; at < size; at++)
        out[at] = in[at] ^ key[at & 3];
}

/* The key as it stands `offset` bytes into the payload. 0: it is empty; -1: there was an error. */
static int
rotate_key(PyObject *key_bytes, PyObject *offset_number, unsigned char rotated[4])
{
    char *key;
    Py_ssize_t size;
    if (PyBytes_AsStringAndSize(key_bytes, &key, &size) < 0)
        return -1;
    if (size != 0 && size != 4) {
        PyErr_Format(PyExc_ValueError, "a masking key has 4 bytes, not %zd", size);
        return -1;
    }
    unsigned long offset = 0;
    if (offset_number != NULL) {
        offset = PyLong_AsUnsignedLongMask(offset_number);
        if (offset == (unsigned long)-1 && PyErr_Occurred())
            return -1;
    }
    for (unsigned long at = 0; size != 0 && at < 4; at++)
        rotated[at] = (unsigned char)key[(offset + at) & 3];
    return size != 0;
}

/* mask(data, key, offset=0) -> bytes */
static PyObject *
mask(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    (void)module;
    if (count != 2 && count != 3) {
        PyErr_Format(PyExc_TypeError, "mask() takes 2 or 3 arguments (%zd given)", count);
        return NULL;
    }
    unsigned char rotated[4];
    int masked = rotate_key(args[1], count == 3 ? args[2] : NULL, rotated);
    if (masked == 0)
        PyErr_SetString(PyExc_ValueError, "a masking key has 4 bytes, not 0");
    if (masked <= 0)
        return NULL;

    Py_buffer data;
    if (PyObject_GetBuffer(args[0], &data, PyBUF_SIMPLE) < 0)
        return NULL;
    PyObject *result = PyBytes_FromStringAndSize(NULL, data.len);
    if (result != NULL)
        xor_mask((unsigned char *)PyBytes_AsString(result), data.buf, data.len, rotated);
    PyBuffer_Release(&data);
    return result;
}

/* Whether the highest bit of every byte is clear. */
static int
is_ascii(const unsigned char *data, Py_ssize_t size)
{
    uint64_t seen = 0;
    Py_ssize_t at = 0;
    for (; at + 8 <= size; at += 8) {
        uint64_t word;
        memcpy(&word, data + at, 8);
        seen |= word;
    }
    for (; at < size; at++)
        seen |= data[at];
    return (seen & UINT64_C(0x8080808080808080)) == 0;
}

/* Copy `data` to `out`, unmasked where the key is not empty; return whether that was all ASCII. */
static PyObject *
unmask_to(unsigned char *out, const Py_buffer *data, const unsigned char *key)
{
    if (key != NULL)
        xor_mask(out, data->buf, data->len, key);
    else
        memcpy(out, data->buf, (size_t)data->len);
    return PyBool_FromLong(is_ascii(out, data->len));
}

/* append_unmasked(buffer, data, key, offset) -> bool */
static PyObject *
append_unmasked(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    (void)module;
    if (count != 4) {
        PyErr_Format(PyExc_TypeError, "append_unmasked() takes 4 arguments (%zd given)", count);
        return NULL;
    }
    if (!PyByteArray_Check(args[0])) {
        PyErr_SetString(PyExc_TypeError, "append_unmasked() appends to a bytearray");
        return NULL;
    }
    unsigned char rotated[4];
    const int masked = rotate_key(args[2], args[3], rotated);
    if (masked < 0)
        return NULL;
    Py_buffer data;
    if (PyObject_GetBuffer(args[1], &data, PyBUF_SIMPLE) < 0)
        return NULL;
    const Py_ssize_t before = PyByteArray_Size(args[0]);
    PyObject *result = NULL;
    if (data.len > PY_SSIZE_T_MAX - before) {
        PyErr_NoMemory();
    } else if (PyByteArray_Resize(args[0], before + data.len) == 0) {
        unsigned char *out = (unsigned char *)PyByteArray_AsString(args[0]) + before;
        result = unmask_to(out, &data, masked ? rotated : NULL);
    }
    PyBuffer_Release(&data);
    return result;
}

/* new_payload(size) -> bytes */
static PyObject *
new_payload(PyObject *module, PyObject *size_number)
{
    (void)module;
    Py_ssize_t size = PyLong_AsSsize_t(size_number);
    if (size == -1 && PyErr_Occurred())
        return NULL;
    if (size < 0) {
        PyErr_SetString(PyExc_ValueError, "a payload has no negative size");
        return NULL;
    }
    return PyBytes_FromStringAndSize(NULL, size);
}

/* fill_payload(payload, position, data, key, offset) -> bool */
static PyObject *
fill_payload(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    (void)module;
    if (count != 5) {
        PyErr_Format(PyExc_TypeError, "fill_payload() takes 5 arguments (%zd given)", count);
        return NULL;
    }
    char *payload;
    Py_ssize_t size;
    if (PyBytes_AsStringAndSize(args[0], &payload, &size) < 0)
        return NULL;
    Py_ssize_t position = PyLong_AsSsize_t(args[1]);
    if (position == -1 && PyErr_Occurred())
        return NULL;
    unsigned char rotated[4];
    const int masked = rotate_key(args[3], args[4], rotated);
    if (masked < 0)
        return NULL;
    Py_buffer data;
    if (PyObject_GetBuffer(args[2], &data, PyBUF_SIMPLE) < 0)
        return NULL;
    PyObject *result = NULL;
    if (position < 0 || position > size || data.len > size - position)
        PyErr_SetString(PyExc_ValueError, "there is no room for this in the payload");
    else
        result = unmask_to((unsigned char *)payload + position, &data, masked ? rotated : NULL);
    PyBuffer_Release(&data);
    return result;
}

/* The text of `size` bytes of UTF-8, unmasked first where there is a key. */
static PyObject *
take_text(const unsigned char *payload, Py_ssize_t size, const unsigned char *key)
{
    if (key == NULL)
        return PyUnicode_DecodeUTF8((const char *)payload, size, NULL);
    unsigned char stack[SCRATCH];
    unsigned char *scratch = size <= SCRATCH ? stack : PyMem_Malloc((size_t)size);
    if (scratch == NULL)
        return PyErr_NoMemory();
    xor_mask(scratch, payload, size, key);
    PyObject *text = PyUnicode_DecodeUTF8((const char *)scratch, size, NULL);
    if (scratch != stack)
        PyMem_Free(scratch);
    return text;
}

static PyObject *
take_binary(const unsigned char *payload, Py_ssize_t size, const unsigned char *key)
{
    PyObject *binary = PyBytes_FromStringAndSize(key == NULL ? (const char *)payload : NULL, size);
    if (binary != NULL && key != NULL)
        xor_mask((unsigned char *)PyBytes_AsString(binary), payload, size, key);
    return binary;
}

/* take_whole_messages(data, position, masked, max_size, messages) -> position */
static PyObject *
take_whole_messages(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    (void)module;
    if (count != 5) {
        PyErr_Format(PyExc_TypeError, "take_whole_messages() takes 5 arguments (%zd given)", count);
        return NULL;
    }
    Py_ssize_t position = PyLong_AsSsize_t(args[1]);
    if (position == -1 && PyErr_Occurred())
        return NULL;
    const int masked = PyObject_IsTrue(args[2]);
    if (masked < 0)
        return NULL;
    const long long max_size = PyLong_AsLongLong(args[3]);
    if (max_size == -1 && PyErr_Occurred())
        return NULL;
    PyObject *messages = args[4];
    if (!PyList_Check(messages)) {
        PyErr_SetString(PyExc_TypeError, "take_whole_messages() appends to a list");
        return NULL;
    }
    Py_buffer view;
    if (PyObject_GetBuffer(args[0], &view, PyBUF_SIMPLE) < 0)
        return NULL;

    const unsigned char *data = view.buf;
    const Py_ssize_t overhead = masked ? 6 : 2;
    int failed = position < 0;
    if (failed)
        PyErr_SetString(PyExc_ValueError, "position must not be negative");
    while (!failed && view.len - position >= overhead) {
        const unsigned char *frame = data + position;
        /* A wrong mask bit makes this 128 or more, and ends the loop. */
        Py_ssize_t length = frame[1] ^ (masked ? 0x80 : 0);
        Py_ssize_t start = overhead;
        if (length >= 126) {
            const int length_bytes = length == 126 ? 2 : 8;
            start += length_bytes;
            if (length > 127 || view.len - position < start)
                break;
            uint64_t extended = 0;
            for (int at = 0; at < length_bytes; at++)
                extended = extended << 8 | frame[2 + at];
            /* Not in its shortest form; or more than is here, whatever the sign of it. */
            if (extended < (length_bytes == 2 ? 126 : 1 << 16) || extended > (uint64_t)view.len)
                break;
            length = (Py_ssize_t)extended;
        }
        if (length > view.len - position - start || length > max_size)
            break;
        const unsigned char *key = masked ? frame + start - 4 : NULL;
        PyObject *message;
        if (frame[0] == TEXT_MESSAGE)
            message = take_text(frame + start, length, key);
        else if (frame[0] == BINARY_MESSAGE)
            message = take_binary(frame + start, length, key);
        else
            break;
        if (message == NULL) {
            if (PyErr_ExceptionMatches(PyExc_UnicodeDecodeError)) {
                PyErr_Clear();
                break;
            }
            failed = 1;
        } else {
            failed = PyList_Append(messages, message) < 0;
            Py_DECREF(message);
            position += start + length;
        }
    }
    PyBuffer_Release(&view);
    return failed ? NULL : PyLong_FromSsize_t(position);
}

/* Write a frame's header; return how many bytes that took, at most 14. */
static Py_ssize_t
write_header(unsigned char *out, unsigned char first, Py_ssize_t size, const unsigned char *key)
{
    const unsigned char mask_bit = key == NULL ? 0 : 0x80;
    Py_ssize_t at = 2;
    out[0] = first;
    if (size < 126) {
        out[1] = (unsigned char)size | mask_bit;
    } else {
        const int length_bytes = size < 1 << 16 ? 2 : 8;
        out[1] = (length_bytes == 2 ? 126 : 127) | mask_bit;
        for (int shift = 8 * (length_bytes - 1); shift >= 0; shift -= 8)
            out[at++] = (unsigned char)((unsigned long long)size >> shift);
    }
    if (key != NULL) {
        memcpy(out + at, key, 4);
        at += 4;
    }
    return at;
}

/* The UTF-8 of `text`; `held` is what it lives in, if it is not the text itself.
 *
 * Of ASCII it is the string's own memory, and nothing is copied. Of other texts CPython keeps it
 * with the string once it was asked for, which is fine for short ones only. */
static const char *
utf8_data(PyObject *text, Py_ssize_t *size, PyObject **held)
{
    *held = NULL;
    if (PyUnicode_GetLength(text) > SCRATCH) {
        PyObject *ascii = PyObject_CallMethod(text, "isascii", NULL);
        if (ascii == NULL)
            return NULL;
        const int is_ascii_text = PyObject_IsTrue(ascii);
        Py_DECREF(ascii);
        if (!is_ascii_text) {
            char *data;
            *held = PyUnicode_AsUTF8String(text);
            if (*held == NULL || PyBytes_AsStringAndSize(*held, &data, size) < 0)
                return NULL;
            return data;
        }
    }
    return PyUnicode_AsUTF8AndSize(text, size);
}

/* encode_message(message, key) -> bytes */
static PyObject *
encode_message(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    (void)module;
    if (count != 2) {
        PyErr_Format(PyExc_TypeError, "encode_message() takes 2 arguments (%zd given)", count);
        return NULL;
    }
    unsigned char key_bytes[4];
    const int masked = rotate_key(args[1], NULL, key_bytes);
    if (masked < 0)
        return NULL;
    const unsigned char *key = masked ? key_bytes : NULL;

    PyObject *held = NULL;
    const char *payload;
    Py_ssize_t size;
    const int text = PyUnicode_Check(args[0]);
    if (text) {
        payload = utf8_data(args[0], &size, &held);
    } else {
        char *bytes;
        payload = PyBytes_AsStringAndSize(args[0], &bytes, &size) < 0 ? NULL : bytes;
    }
    if (payload == NULL)
        return NULL;
    unsigned char header[14];
    Py_ssize_t start = write_header(header, text ? TEXT_MESSAGE : BINARY_MESSAGE, size, key);
    PyObject *frame =
        size > PY_SSIZE_T_MAX - start ? PyErr_NoMemory() : PyBytes_FromStringAndSize(NULL, start + size);
    if (frame != NULL) {
        unsigned char *out = (unsigned char *)PyBytes_AsString(frame);
        memcpy(out, header, (size_t)start);
        if (key == NULL)
            memcpy(out + start, payload, (size_t)size);
        else
            xor_mask(out + start, (const unsigned char *)payload, size, key);
    }
    Py_XDECREF(held);
    return frame;
}

/* The UTF-8 of a string, as a buffer: of ASCII it is the string's own memory. */
typedef struct {
    PyObject_HEAD
    PyObject *text;
} Utf8;

static int
utf8_getbuffer(PyObject *self, Py_buffer *view, int flags)
{
    Py_ssize_t size;
    const char *data = PyUnicode_AsUTF8AndSize(((Utf8 *)self)->text, &size);
    if (data == NULL) {
        view->obj = NULL;
        return -1;
    }
    return PyBuffer_FillInfo(view, self, (void *)data, size, 1, flags);
}

static void
utf8_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    Py_DECREF(((Utf8 *)self)->text);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

static PyType_Slot utf8_slots[] = {
    {Py_tp_dealloc, utf8_dealloc},
    {Py_bf_getbuffer, utf8_getbuffer},
    {0, NULL},
};

static PyType_Spec utf8_spec = {
    .name = "trio_ws.protocol._speedups.Utf8",
    .basicsize = sizeof(Utf8),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = utf8_slots,
};

/* utf8_of(text) -> memoryview */
static PyObject *
utf8_of(PyObject *module, PyObject *text)
{
    if (!PyUnicode_Check(text)) {
        PyErr_SetString(PyExc_TypeError, "utf8_of() takes a str");
        return NULL;
    }
    PyTypeObject *type = *(PyTypeObject **)PyModule_GetState(module);
    Utf8 *utf8 = PyObject_New(Utf8, type);
    if (utf8 == NULL)
        return NULL;
    utf8->text = Py_NewRef(text);
    PyObject *view = PyMemoryView_FromObject((PyObject *)utf8);
    Py_DECREF(utf8);
    return view;
}

static PyMethodDef methods[] = {
    {"mask", (PyCFunction)(void (*)(void))mask, METH_FASTCALL,
     "mask(data, key, offset=0, /)\n--\n\n"
     "XOR data with the four-byte key, which begins at key[offset % 4]."},
    {"append_unmasked", (PyCFunction)(void (*)(void))append_unmasked, METH_FASTCALL,
     "append_unmasked(buffer, data, key, offset, /)\n--\n\n"
     "Append data, unmasked where the key is not empty; return whether that was all ASCII."},
    {"new_payload", new_payload, METH_O,
     "new_payload(size, /)\n--\n\n"
     "Bytes that hold nothing yet: to be filled with fill_payload before anybody sees them."},
    {"fill_payload", (PyCFunction)(void (*)(void))fill_payload, METH_FASTCALL,
     "fill_payload(payload, position, data, key, offset, /)\n--\n\n"
     "Put data there, unmasked where the key is not empty; return whether that was all ASCII."},
    {"take_whole_messages", (PyCFunction)(void (*)(void))take_whole_messages, METH_FASTCALL,
     "take_whole_messages(data, position, masked, max_size, messages, /)\n--\n\n"
     "Append the whole messages that begin at position to messages; return where they end."},
    {"encode_message", (PyCFunction)(void (*)(void))encode_message, METH_FASTCALL,
     "encode_message(message, key, /)\n--\n\n"
     "One frame that is a whole message, masked where the key is not empty."},
    {"utf8_of", utf8_of, METH_O,
     "utf8_of(text, /)\n--\n\n"
     "The text's UTF-8; of ASCII without a copy."},
    {NULL, NULL, 0, NULL},
};

static int
execute(PyObject *module)
{
    PyObject **type = PyModule_GetState(module);
    *type = PyType_FromModuleAndSpec(module, &utf8_spec, NULL);
    return *type == NULL ? -1 : 0;
}

static int
traverse(PyObject *module, visitproc visit, void *arg)
{
    Py_VISIT(*(PyObject **)PyModule_GetState(module));
    return 0;
}

static int
clear(PyObject *module)
{
    Py_CLEAR(*(PyObject **)PyModule_GetState(module));
    return 0;
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, execute},
    {0, NULL},
};

static struct PyModuleDef definition = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "_speedups",
    .m_doc = "C twins of hot loops.",
    .m_size = sizeof(PyObject *),
    .m_methods = methods,
    .m_slots = slots,
    .m_traverse = traverse,
    .m_clear = clear,
};

PyMODINIT_FUNC
PyInit__speedups(void)
{
    return PyModuleDef_Init(&definition);
}
