/* A CUDA driver that does nothing: the part of libcuda, cudart, cuBLAS, cuBLASLt and cuRAND that
 * candle needs to run on a machine without a GPU. No kernel and no GEMM is executed, so values are
 * zeros; what the real libraries refuse before a kernel starts is refused here too:
 *   - a kernel name that is not in its module, a module for another GPU or a newer driver,
 *   - an impossible launch (no blocks, over 1024 threads, too much shared memory),
 *   - a copy, fill or free outside of what was allocated, more memory than the device has,
 *   - a GEMM with wrong leading dimensions, types, or operands that end past their allocation.
 * "Device memory" is host memory. null_driver.py adds a do-nothing function for every other name.
 *
 * Environment: NULL_CUDA_LOG=1 logs launches, GEMMs, copies and refusals to stderr;
 * NULL_CUDA_STATS=1 prints totals at exit; NULL_CUDA_MEMORY=bytes sets the device's memory;
 * NULL_CUDA_MAX_COPY=bytes leaves copies from the host larger than that undone (weights nobody
 * reads then take no host memory). */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <search.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

typedef uint64_t ptr;   /* CUdeviceptr */
typedef void *handle;   /* contexts, streams, events, ... */

enum { OK = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NO_BINARY_FOR_GPU = 209,
       UNSUPPORTED_PTX_VERSION = 222, INVALID_DEVICE = 101, FILE_NOT_FOUND = 301, NOT_FOUND = 500 };
static const struct { int code; const char *name, *text; } errors[] = {
    { OK, "CUDA_SUCCESS", "no error" },
    { INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE", "invalid argument" },
    { OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory" },
    { INVALID_DEVICE, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal" },
    { NO_BINARY_FOR_GPU, "CUDA_ERROR_NO_BINARY_FOR_GPU", "no kernel image is available for execution on the device" },
    { UNSUPPORTED_PTX_VERSION, "CUDA_ERROR_UNSUPPORTED_PTX_VERSION", "the provided PTX was compiled with an unsupported toolchain." },
    { FILE_NOT_FOUND, "CUDA_ERROR_FILE_NOT_FOUND", "file not found" },
    { NOT_FOUND, "CUDA_ERROR_NOT_FOUND", "named symbol not found" },
};

/* ---- log and totals ---- */

static int logging;
static struct { size_t launches, gemms, flops, to_device, to_device_bytes, to_host, to_host_bytes,
                syncs, used, peak, limit, max_copy; } stats;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static size_t env_size(const char *name, size_t otherwise) {
    const char *value = getenv(name);
    return value ? strtoull(value, NULL, 10) : otherwise;
}

__attribute__((constructor)) static void begin(void) {
    logging = env_size("NULL_CUDA_LOG", 0) != 0;
    stats.limit = env_size("NULL_CUDA_MEMORY", 76ull << 30);
    stats.max_copy = env_size("NULL_CUDA_MAX_COPY", SIZE_MAX);
}

__attribute__((destructor)) static void end(void) {
    if (env_size("NULL_CUDA_STATS", 0))
        fprintf(stderr, "null cuda: %zu launches, %zu gemms (%.3f TFLOP), %zu copies to the device (%.3f MB), "
                "%zu to the host (%.3f MB), %zu syncs, peak memory %.3f MB, left %.3f MB\n",
                stats.launches, stats.gemms, stats.flops / 1e12, stats.to_device, stats.to_device_bytes / 1e6,
                stats.to_host, stats.to_host_bytes / 1e6, stats.syncs, stats.peak / 1e6, stats.used / 1e6);
}

#define LOG(...) (logging ? (void)fprintf(stderr, "null cuda: " __VA_ARGS__) : (void)0)
#define COUNT(field, n) __atomic_fetch_add(&stats.field, n, __ATOMIC_RELAXED)
#define REFUSE(code, ...) return (fprintf(stderr, "null cuda: refused: " __VA_ARGS__), code)

/* Called by the functions that null_driver.py adds; each says its name once. */
void null_unmodelled(const char *name, int *seen) {
    if (!*seen) LOG("%s (does nothing)\n", name);
    *seen = 1;
}

/* ---- device and context ---- */

int cuInit(unsigned flags) { return OK; }
int cuDriverGetVersion(int *version) { *version = 13000; return OK; }
int cuDeviceGetCount(int *count) { *count = 1; return OK; }
int cuDeviceGet(int *device, int ordinal) { *device = ordinal; return ordinal == 0 ? OK : INVALID_DEVICE; }
int cuDeviceGetName(char *name, int len, int device) { snprintf(name, len, "Null GPU"); return OK; }
int cuDeviceGetUuid(void *uuid, int device) { memset(uuid, 0, 16); return OK; }
int cuDeviceGetUuid_v2(void *uuid, int device) { memset(uuid, 0, 16); return OK; }
int cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = 80ull << 30; return OK; }
int cuMemGetInfo_v2(size_t *free, size_t *total) { *free = stats.limit - stats.used; *total = 80ull << 30; return OK; }

int cuDeviceGetAttribute(int *value, int attribute, int device) {
    switch (attribute) {                      /* an H100's */
    case 1: *value = 1024; break;             /* threads per block */
    case 2: case 3: *value = 1024; break;     /* block x, y */
    case 4: *value = 64; break;               /* block z */
    case 5: *value = 2147483647; break;       /* grid x */
    case 6: case 7: *value = 65535; break;    /* grid y, z */
    case 8: *value = 49152; break;            /* shared memory per block */
    case 9: *value = 65536; break;            /* constant memory */
    case 10: *value = 32; break;              /* warp size */
    case 12: case 82: *value = 65536; break;  /* registers per block, per multiprocessor */
    case 13: *value = 1980000; break;         /* clock, kHz */
    case 16: *value = 132; break;             /* multiprocessors */
    case 38: *value = 52428800; break;        /* L2 bytes */
    case 39: *value = 2048; break;            /* threads per multiprocessor */
    case 75: *value = 9; break;               /* compute capability, major */
    case 76: *value = 0; break;               /* minor */
    case 81: *value = 233472; break;          /* shared memory per multiprocessor */
    case 97: *value = 232448; break;          /* shared memory per block, opted in */
    case 41: case 83: case 89: case 95: case 115: *value = 1; break;  /* unified addressing, managed memory,
                                                 concurrent managed access, cooperative launch, memory pools */
    default: *value = 0;
    }
    return OK;
}

static _Thread_local handle current;
int cuDevicePrimaryCtxRetain(handle *context, int device) { *context = (handle)0x1000; return OK; }
int cuCtxGetCurrent(handle *context) { *context = current; return OK; }
int cuCtxSetCurrent(handle context) { current = context; return OK; }
int cuCtxGetDevice(int *device) { *device = 0; return OK; }
int cuCtxCreate_v4(handle *context, void *params, unsigned flags, int device) { *context = (handle)0x1001; return OK; }
int cuCtxGetStreamPriorityRange(int *least, int *greatest) { *least = 0; *greatest = -5; return OK; }
int cuCtxGetLimit(size_t *value, int limit) { *value = 0; return OK; }
int cuCtxSynchronize(void) { COUNT(syncs, 1); return OK; }

int cuGetErrorName(int code, const char **out) {
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        if (errors[i].code == code) return *out = errors[i].name, OK;
    return *out = "CUDA_ERROR_UNKNOWN", OK;
}
int cuGetErrorString(int code, const char **out) {
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        if (errors[i].code == code) return *out = errors[i].text, OK;
    return *out = "unknown error", OK;
}

/* nvrtc looks for a table of private functions, and does without. */
int cuGetExportTable(const void **table, const void *id) { *table = NULL; return NOT_FOUND; }
int cuGetProcAddress_v2(const char *name, void **out, int version, uint64_t flags, int *status) {
    char newer[128];
    snprintf(newer, sizeof newer, "%s_v2", name);
    if (!(*out = dlsym(RTLD_DEFAULT, newer))) *out = dlsym(RTLD_DEFAULT, name);
    if (status) *status = *out ? 0 : 1;
    return *out ? OK : NOT_FOUND;
}

/* ---- streams and events: all is done at once, so there is nothing to wait for ---- */

int cuStreamCreate(handle *stream, unsigned flags) { *stream = (handle)0x2000; return OK; }
int cuStreamCreateWithPriority(handle *stream, unsigned flags, int priority) { *stream = (handle)0x2000; return OK; }
int cuStreamIsCapturing(handle stream, int *status) { *status = 0; return OK; }
int cuStreamSynchronize(handle stream) { COUNT(syncs, 1); return OK; }
int cuEventCreate(handle *event, unsigned flags) { *event = (handle)0x3000; return OK; }
int cuEventElapsedTime(float *ms, handle from, handle to) { *ms = 0; return OK; }
int cuEventElapsedTime_v2(float *ms, handle from, handle to) { *ms = 0; return OK; }

/* ---- memory: blocks in a tree; two ranges compare as equal if they overlap ---- */

typedef struct { ptr start, end; } block;
static void *blocks;
#define BIG 65536 /* bytes from which a block is a mapping of its own, zero and uncommitted at first */

static int compare_blocks(const void *a, const void *b) {
    const block *x = a, *y = b;
    return x->end <= y->start ? -1 : y->end <= x->start ? 1 : 0;
}

static block *find(ptr at) {
    block key = { at, at + 1 }, **found;
    pthread_mutex_lock(&lock);
    found = tfind(&key, &blocks, compare_blocks);
    pthread_mutex_unlock(&lock);
    return found ? *found : NULL;
}

static int inside(ptr at, size_t bytes) {
    block *b = bytes ? find(at) : NULL;
    return bytes == 0 || (b && bytes <= b->end - at);
}

static int allocate(ptr *out, size_t bytes) {
    *out = 0;
    if (bytes == 0) return OK;
    pthread_mutex_lock(&lock);
    int fits = bytes <= stats.limit - stats.used;
    if (fits) {
        void *memory = bytes >= BIG
            ? mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
            : aligned_alloc(256, (bytes + 255) / 256 * 256);
        if (memory == NULL || memory == MAP_FAILED) abort();
        if (bytes < BIG) memset(memory, 0, bytes);
        block *b = malloc(sizeof *b);
        *b = (block){ (ptr)memory, (ptr)memory + bytes };
        tsearch(b, &blocks, compare_blocks);
        stats.used += bytes;
        if (stats.used > stats.peak) stats.peak = stats.used;
        *out = b->start;
    }
    pthread_mutex_unlock(&lock);
    if (!fits) REFUSE(OUT_OF_MEMORY, "an allocation of %zu bytes, %zu being used\n", bytes, stats.used);
    return OK;
}

static int release(ptr at) {
    if (at == 0) return OK;
    block *b = find(at);
    if (!b || b->start != at) REFUSE(INVALID_VALUE, "freeing %#lx, which is not an allocation\n", at);
    size_t bytes = b->end - b->start;
    pthread_mutex_lock(&lock);
    tdelete(b, &blocks, compare_blocks);
    stats.used -= bytes;
    pthread_mutex_unlock(&lock);
    if (bytes >= BIG) munmap((void *)at, bytes); else free((void *)at);
    free(b);
    return OK;
}

static int copy(ptr to, ptr from, size_t bytes, int to_device, int from_device) {
    LOG("copy %s to %s, %zu bytes\n", from_device ? "device" : "host", to_device ? "device" : "host", bytes);
    if (to_device && !inside(to, bytes)) REFUSE(INVALID_VALUE, "a copy of %zu bytes past the end of its target\n", bytes);
    if (from_device && !inside(from, bytes)) REFUSE(INVALID_VALUE, "a copy of %zu bytes past the end of its source\n", bytes);
    if (!from_device) COUNT(to_device, 1), COUNT(to_device_bytes, bytes);
    if (!to_device) COUNT(to_host, 1), COUNT(to_host_bytes, bytes);
    if (to_device && bytes > stats.max_copy) return OK;
    memcpy((void *)to, (void *)from, bytes);
    return OK;
}

static int fill(ptr at, unsigned value, size_t size, size_t n) {
    if (!inside(at, n * size)) REFUSE(INVALID_VALUE, "a fill of %zu bytes past the end of its target\n", n * size);
    block *b = n ? find(at) : NULL;
    if (value == 0 && b && b->start == at && b->end == at + n * size && n * size >= BIG)
        madvise((void *)at, n * size, MADV_DONTNEED);   /* zeros, and uncommitted again */
    else if (size == 1)
        memset((void *)at, value, n);
    else
        for (size_t i = 0; i < n; i++) memcpy((char *)at + i * size, &value, size);
    return OK;
}

/* Of 0 bytes, only the asynchronous allocation is possible, and gives null. */
int cuMemAlloc_v2(ptr *out, size_t bytes) { return bytes ? allocate(out, bytes) : INVALID_VALUE; }
int cuMemAllocAsync(ptr *out, size_t bytes, handle stream) { return allocate(out, bytes); }
int cuMemAllocFromPoolAsync(ptr *out, size_t bytes, handle pool, handle stream) { return allocate(out, bytes); }
int cuMemAllocManaged(ptr *out, size_t bytes, unsigned flags) { return allocate(out, bytes); }
int cuMemFree_v2(ptr at) { return release(at); }
int cuMemFreeAsync(ptr at, handle stream) { return release(at); }
int cuMemHostAlloc(void **out, size_t bytes, unsigned flags) { *out = calloc(1, bytes); return OK; }
int cuMemAllocHost_v2(void **out, size_t bytes) { *out = calloc(1, bytes); return OK; }
int cuMemFreeHost(void *at) { free(at); return OK; }
int cuMemcpyHtoD_v2(ptr to, const void *from, size_t bytes) { return copy(to, (ptr)from, bytes, 1, 0); }
int cuMemcpyDtoH_v2(void *to, ptr from, size_t bytes) { return copy((ptr)to, from, bytes, 0, 1); }
int cuMemcpyDtoD_v2(ptr to, ptr from, size_t bytes) { return copy(to, from, bytes, 1, 1); }
int cuMemcpyHtoDAsync_v2(ptr to, const void *from, size_t bytes, handle stream) { return copy(to, (ptr)from, bytes, 1, 0); }
int cuMemcpyDtoHAsync_v2(void *to, ptr from, size_t bytes, handle stream) { return copy((ptr)to, from, bytes, 0, 1); }
int cuMemcpyDtoDAsync_v2(ptr to, ptr from, size_t bytes, handle stream) { return copy(to, from, bytes, 1, 1); }
int cuMemcpyPeerAsync(ptr to, handle c1, ptr from, handle c2, size_t bytes, handle stream) { return copy(to, from, bytes, 1, 1); }
int cuMemsetD8_v2(ptr at, unsigned char value, size_t n) { return fill(at, value, 1, n); }
int cuMemsetD8Async(ptr at, unsigned char value, size_t n, handle stream) { return fill(at, value, 1, n); }
int cuMemsetD16Async(ptr at, unsigned short value, size_t n, handle stream) { return fill(at, value, 2, n); }
int cuMemsetD32_v2(ptr at, unsigned value, size_t n) { return fill(at, value, 4, n); }
int cuMemsetD32Async(ptr at, unsigned value, size_t n, handle stream) { return fill(at, value, 4, n); }

int cuDeviceGetDefaultMemPool(handle *pool, int device) { *pool = (handle)0x4000; return OK; }
int cuDeviceGetMemPool(handle *pool, int device) { *pool = (handle)0x4000; return OK; }
int cuMemPoolCreate(handle *pool, const void *properties) { *pool = (handle)0x4001; return OK; }
int cuMemPoolGetAttribute(handle pool, int attribute, void *value) { memset(value, 0, attribute < 4 ? 4 : 8); return OK; }

/* ---- modules and kernels ---- */

typedef struct function { struct function *next; unsigned max_shared; char name[]; } function;
typedef struct { function *functions; int any_name; } module;

static function *add_function(module *m, const char *name, size_t len) {
    function *f = calloc(1, sizeof *f + len + 1);
    memcpy(f->name, name, len);
    f->next = m->functions, f->max_shared = 49152;
    return m->functions = f;
}

int cuModuleLoadData(handle *out, const void *image) {
    module *m = calloc(1, sizeof *m);
    const char *ptx = image, *at;
    *out = m;
    /* Not PTX but a cubin (ELF) or a fat binary: its names cannot be told, so all are there. */
    if (!memcmp(ptx, "\177ELF", 4) || !memcmp(ptx, "\120\355\125\272", 4)) return m->any_name = 1, OK;
    int major = 0, minor = 0, arch = 0;
    char suffix = 0;
    if ((at = strstr(ptx, "\n.version "))) sscanf(at, "\n.version %d.%d", &major, &minor);
    if ((at = strstr(ptx, "\n.target "))) sscanf(at, "\n.target sm_%d%c", &arch, &suffix);
    if (major > 9 || (major == 9 && minor > 0))
        REFUSE(UNSUPPORTED_PTX_VERSION, "PTX %d.%d; CUDA 13.0 reads up to 9.0\n", major, minor);
    if (arch > 90 || ((suffix == 'a' || suffix == 'f') && arch != 90))
        REFUSE(NO_BINARY_FOR_GPU, "PTX for sm_%d%c; the device is sm_90\n", arch, suffix);
    for (at = ptx; (at = strstr(at, ".entry ")); ) {
        at += strlen(".entry ");
        at += strspn(at, " \t\n");
        add_function(m, at, strcspn(at, "( \t\n"));
    }
    return OK;
}
int cuModuleLoadDataEx(handle *out, const void *image, unsigned n, void *options, void *values) {
    return cuModuleLoadData(out, image);
}
int cuModuleLoad(handle *out, const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file) return FILE_NOT_FOUND;
    fseek(file, 0, SEEK_END);
    size_t size = ftell(file);
    char *image = calloc(1, size + 8);
    rewind(file);
    size = fread(image, 1, size, file);
    fclose(file);
    int result = cuModuleLoadData(out, image);
    free(image);
    return result;
}

int cuModuleGetFunction(handle *out, handle module_, const char *name) {
    module *m = module_;
    pthread_mutex_lock(&lock);
    function *f = m->functions;
    while (f && strcmp(f->name, name)) f = f->next;
    if (!f && m->any_name) f = add_function(m, name, strlen(name));
    pthread_mutex_unlock(&lock);
    *out = f;
    if (!f) REFUSE(NOT_FOUND, "no kernel %s in its module\n", name);
    return OK;
}
int cuModuleGetGlobal_v2(ptr *at, size_t *bytes, handle module, const char *name) { *bytes = 65536; return allocate(at, *bytes); }

int cuFuncSetAttribute(handle function_, int attribute, int value) {
    if (attribute != 8) return OK;            /* dynamic shared memory */
    if (value < 0 || value > 232448) REFUSE(INVALID_VALUE, "%d bytes of shared memory; the most is 232448\n", value);
    ((function *)function_)->max_shared = value;
    return OK;
}
int cuFuncGetAttribute(int *value, int attribute, handle function_) {
    *value = attribute == 0 ? 1024 : attribute == 8 ? (int)((function *)function_)->max_shared : 0;
    return OK;
}
int cuOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, handle f, int threads, size_t shared) { *blocks = 2; return OK; }
int cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *blocks, handle f, int threads, size_t shared, unsigned flags) { *blocks = 2; return OK; }
int cuOccupancyMaxPotentialBlockSize(int *grid, int *block, handle f, void *size, size_t shared, int limit) { *grid = 264; *block = 1024; return OK; }
int cuOccupancyAvailableDynamicSMemPerBlock(size_t *bytes, handle f, int blocks, int threads) { *bytes = 49152; return OK; }

int cuLaunchKernel(handle function_, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                   unsigned shared, handle stream, void **params, void **extra) {
    function *f = function_;
    LOG("launch %s <<<(%u,%u,%u), (%u,%u,%u), %u>>>\n", f->name, gx, gy, gz, bx, by, bz, shared);
    COUNT(launches, 1);
    if (gx == 0 || gy == 0 || gz == 0 || gx > 2147483647u || gy > 65535 || gz > 65535)
        REFUSE(INVALID_VALUE, "%s: a grid of %u x %u x %u blocks\n", f->name, gx, gy, gz);
    if (bx == 0 || by == 0 || bz == 0 || bz > 64 || (size_t)bx * by * bz > 1024)
        REFUSE(INVALID_VALUE, "%s: blocks of %u x %u x %u threads\n", f->name, bx, by, bz);
    if (shared > f->max_shared)
        REFUSE(INVALID_VALUE, "%s: %u bytes of shared memory, of at most %u\n", f->name, shared, f->max_shared);
    return OK;
}
int cuLaunchCooperativeKernel(handle f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                              unsigned shared, handle stream, void **params) {
    return cuLaunchKernel(f, gx, gy, gz, bx, by, bz, shared, stream, params, NULL);
}

/* ---- cuBLAS: column-major C[m,n] = op(A)[m,k] op(B)[k,n] ---- */

enum { BLAS_INVALID_VALUE = 7, BLAS_NOT_SUPPORTED = 15 };
enum { R_32F = 0, R_64F = 1, R_16F = 2, R_16BF = 14 };
enum { IN_16F = 64, IN_32F = 68, IN_32F_PEDANTIC = 69, IN_64F = 70, IN_32F_FAST_16F = 74, IN_32F_FAST_16BF = 75,
       IN_32F_FAST_TF32 = 77 };

static size_t type_size(int type) { return type == R_64F ? 8 : type == R_32F ? 4 : 2; }

static int operand(const char *name, const void *at, long rows, long columns, long ld, long long stride, long batch, int type) {
    if (ld < (rows > 1 ? rows : 1)) REFUSE(BLAS_INVALID_VALUE, "gemm: ld%s = %ld, with %ld rows\n", name, ld, rows);
    size_t bytes = ((columns - 1) * ld + rows + (batch - 1) * stride) * type_size(type);
    if (rows && columns && batch && !inside((ptr)at, bytes))
        REFUSE(BLAS_INVALID_VALUE, "gemm: operand %s ends past its allocation\n", name);
    return OK;
}

static int gemm(unsigned ta, unsigned tb, long m, long n, long k, const void *a, int a_type, long lda, long long a_stride,
                const void *b, int b_type, long ldb, long long b_stride, void *c, int c_type, long ldc,
                long long c_stride, long batch, int compute) {
    LOG("gemm %c%c m=%ld n=%ld k=%ld batch=%ld types=%d,%d,%d compute=%d lda=%ld/%lld ldb=%ld/%lld ldc=%ld/%lld\n",
        "NTC"[ta % 3], "NTC"[tb % 3], m, n, k, batch, a_type, b_type, c_type, compute, lda, a_stride, ldb, b_stride,
        ldc, c_stride);
    COUNT(gemms, 1), COUNT(flops, 2 * m * n * k * batch);
    if (m < 0 || n < 0 || k < 0 || batch < 0 || ta > 2 || tb > 2)
        REFUSE(BLAS_INVALID_VALUE, "gemm: m=%ld n=%ld k=%ld batch=%ld\n", m, n, k, batch);
    int narrow = a_type == R_16F || a_type == R_16BF, known;
    switch (compute) {
    case IN_64F: known = a_type == R_64F && c_type == R_64F; break;
    case IN_16F: known = a_type == R_16F && c_type == R_16F; break;
    case IN_32F: case IN_32F_PEDANTIC:
        known = (narrow && (c_type == a_type || c_type == R_32F)) || (a_type == R_32F && c_type == R_32F); break;
    case IN_32F_FAST_16F: case IN_32F_FAST_16BF: case IN_32F_FAST_TF32: known = a_type == R_32F && c_type == R_32F; break;
    default: known = 0;
    }
    if (!known || a_type != b_type)
        REFUSE(BLAS_NOT_SUPPORTED, "gemm: types %d, %d, %d computed as %d\n", a_type, b_type, c_type, compute);
    int result = operand("a", a, ta ? k : m, ta ? m : k, lda, a_stride, batch, a_type);
    if (!result) result = operand("b", b, tb ? n : k, tb ? k : n, ldb, b_stride, batch, b_type);
    if (!result) result = operand("c", c, m, n, ldc, c_stride, batch, c_type);
    return result;
}

int cublasCreate_v2(handle *out) { *out = (handle)0x5000; return OK; }
int cublasLtCreate(handle *out) { *out = (handle)0x5001; return OK; }
int cublasGetVersion_v2(handle h, int *version) { *version = 130002; return OK; }
const char *cublasGetStatusName(int status) { return status == 7 ? "CUBLAS_STATUS_INVALID_VALUE" : status == 15 ? "CUBLAS_STATUS_NOT_SUPPORTED" : "CUBLAS_STATUS"; }
const char *cublasGetStatusString(int status) { return cublasGetStatusName(status); }

int cublasGemmStridedBatchedEx(handle h, int ta, int tb, int m, int n, int k, const void *alpha,
                               const void *a, int a_type, int lda, long long a_stride,
                               const void *b, int b_type, int ldb, long long b_stride, const void *beta,
                               void *c, int c_type, int ldc, long long c_stride, int batch, int compute, int algo) {
    return gemm(ta, tb, m, n, k, a, a_type, lda, a_stride, b, b_type, ldb, b_stride, c, c_type, ldc, c_stride, batch, compute);
}
int cublasGemmEx(handle h, int ta, int tb, int m, int n, int k, const void *alpha, const void *a, int a_type, int lda,
                 const void *b, int b_type, int ldb, const void *beta, void *c, int c_type, int ldc, int compute, int algo) {
    return gemm(ta, tb, m, n, k, a, a_type, lda, 0, b, b_type, ldb, 0, c, c_type, ldc, 0, 1, compute);
}
#define GEMM(letter, type, compute) \
    int cublas##letter##gemm_v2(handle h, int ta, int tb, int m, int n, int k, const void *alpha, const void *a, int lda, \
                                const void *b, int ldb, const void *beta, void *c, int ldc) { \
        return gemm(ta, tb, m, n, k, a, type, lda, 0, b, type, ldb, 0, c, type, ldc, 0, 1, compute); \
    } \
    int cublas##letter##gemmStridedBatched(handle h, int ta, int tb, int m, int n, int k, const void *alpha, \
                                           const void *a, int lda, long long a_stride, const void *b, int ldb, \
                                           long long b_stride, const void *beta, void *c, int ldc, \
                                           long long c_stride, int batch) { \
        return gemm(ta, tb, m, n, k, a, type, lda, a_stride, b, type, ldb, b_stride, c, type, ldc, c_stride, batch, compute); \
    }
GEMM(S, R_32F, IN_32F)
GEMM(D, R_64F, IN_64F)

/* ---- cuRAND and the runtime (which candle's mixture-of-experts and quantized kernels use) ---- */

enum { RAND_OUT_OF_RANGE = 104, RAND_LENGTH_NOT_MULTIPLE = 105 };
int curandCreateGenerator(handle *out, int type) { *out = (handle)0x6000; return OK; }
static int generate(void *at, size_t n, size_t size, int pairs) {
    if (!inside((ptr)at, n * size)) REFUSE(RAND_OUT_OF_RANGE, "random numbers past the end of their target\n");
    if (pairs && n % 2) REFUSE(RAND_LENGTH_NOT_MULTIPLE, "an odd number (%zu) of normal random numbers\n", n);
    return OK;
}
int curandGenerateUniform(handle h, float *at, size_t n) { return generate(at, n, 4, 0); }
int curandGenerateUniformDouble(handle h, double *at, size_t n) { return generate(at, n, 8, 0); }
int curandGenerateNormal(handle h, float *at, size_t n, float mean, float std) { return generate(at, n, 4, 1); }
int curandGenerateNormalDouble(handle h, double *at, size_t n, double mean, double std) { return generate(at, n, 8, 1); }

const char *cudaGetErrorString(int code) { return code ? "null cuda error" : "no error"; }
const char *cudaGetErrorName(int code) { return code ? "cudaError" : "cudaSuccess"; }
int cudaGetDevice(int *device) { *device = 0; return OK; }
int cudaGetDeviceCount(int *count) { *count = 1; return OK; }
int cudaDeviceGetAttribute(int *value, int attribute, int device) { return cuDeviceGetAttribute(value, attribute, device); }
void **__cudaRegisterFatBinary(void *binary) { static void *registered; return &registered; }
