/* The parts of the protocol core that are worth a compiler.
 *
 * Each function here has a pure-Python twin that defines what it does; tests compare the two.
 * Only the stable ABI is used, so one build serves every Python from 3.11 on.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdint.h>
#include <string.h>

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

/* mask(data, key, offset=0) -> bytes */
static PyObject *
mask(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    (void)module;
    if (count != 2 && count != 3) {
        PyErr_Format(PyExc_TypeError, "mask() takes 2 or 3 arguments (%zd given)", count);
        return NULL;
    }
    char *key;
    Py_ssize_t key_size;
    if (PyBytes_AsStringAndSize(args[1], &key, &key_size) < 0)
        return NULL;
    if (key_size != 4) {
        PyErr_Format(PyExc_ValueError, "a masking key has 4 bytes, not %zd", key_size);
        return NULL;
    }
    unsigned long offset = 0;
    if (count == 3) {
        offset = PyLong_AsUnsignedLongMask(args[2]);
        if (offset == (unsigned long)-1 && PyErr_Occurred())
            return NULL;
    }
    unsigned char rotated[4];
    for (int i = 0; i < 4; i++)
        rotated[i] = (unsigned char)key[(offset + (unsigned long)i) & 3];

    Py_buffer data;
    if (PyObject_GetBuffer(args[0], &data, PyBUF_SIMPLE) < 0)
        return NULL;
    PyObject *result = PyBytes_FromStringAndSize(NULL, data.len);
    if (result != NULL)
        xor_mask((unsigned char *)PyBytes_AsString(result), data.buf, data.len, rotated);
    PyBuffer_Release(&data);
    return result;
}

static PyMethodDef methods[] = {
    {"mask", (PyCFunction)(void (*)(void))mask, METH_FASTCALL,
     "mask(data, key, offset=0, /)\n--\n\n"
     "XOR data with the four-byte key, which begins at key[offset % 4]."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_speedups", "C twins of hot loops.", 0, methods, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC
PyInit__speedups(void)
{
    return PyModuleDef_Init(&definition);
}
