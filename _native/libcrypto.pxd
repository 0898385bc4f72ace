"""What we use of libcrypto 3.x, and nothing more."""

from libc.stddef cimport size_t

cdef extern from "openssl/err.h" nogil:
    unsigned long ERR_get_error()
    void ERR_clear_error()
    void ERR_error_string_n(unsigned long code, char* buffer, size_t size)

cdef extern from "openssl/evp.h" nogil:
    ctypedef struct EVP_PKEY:
        pass
    ctypedef struct EVP_PKEY_CTX:
        pass
    ctypedef struct EVP_MD:
        pass
    ctypedef struct EVP_MD_CTX:
        pass
    ctypedef struct OSSL_LIB_CTX:
        pass
    ctypedef struct OSSL_PARAM:
        pass

    int EVP_PKEY_KEYPAIR
    int EVP_PKEY_PUBLIC_KEY
    void EVP_PKEY_free(EVP_PKEY* key)
    int EVP_PKEY_up_ref(EVP_PKEY* key)
    int EVP_PKEY_is_a(const EVP_PKEY* key, const char* name)
    const char* EVP_PKEY_get0_type_name(const EVP_PKEY* key)
    int EVP_PKEY_get_bits(const EVP_PKEY* key)
    int EVP_PKEY_get_size(const EVP_PKEY* key)
    int EVP_PKEY_get_group_name(const EVP_PKEY* key, char* name, size_t size, size_t* length)

    EVP_PKEY_CTX* EVP_PKEY_CTX_new_from_pkey(OSSL_LIB_CTX* library, EVP_PKEY* key, const char* properties)
    void EVP_PKEY_CTX_free(EVP_PKEY_CTX* context)
    int EVP_PKEY_pairwise_check(EVP_PKEY_CTX* context)
    EVP_PKEY_CTX* EVP_PKEY_CTX_new_from_name(OSSL_LIB_CTX* library, const char* name, const char* properties)
    int EVP_PKEY_keygen_init(EVP_PKEY_CTX* context)
    int EVP_PKEY_CTX_set_group_name(EVP_PKEY_CTX* context, const char* name)
    int EVP_PKEY_generate(EVP_PKEY_CTX* context, EVP_PKEY** key)
    int EVP_PKEY_sign_init(EVP_PKEY_CTX* context)
    int EVP_PKEY_sign(EVP_PKEY_CTX* context, unsigned char* signature, size_t* size, const unsigned char* digest, size_t length)
    int EVP_PKEY_verify_init(EVP_PKEY_CTX* context)
    int EVP_PKEY_verify(EVP_PKEY_CTX* context, const unsigned char* signature, size_t size, const unsigned char* digest, size_t length)
    int EVP_PKEY_CTX_set_signature_md(EVP_PKEY_CTX* context, const EVP_MD* digest)

    EVP_MD* EVP_MD_fetch(OSSL_LIB_CTX* library, const char* algorithm, const char* properties)
    EVP_MD_CTX* EVP_MD_CTX_new()
    int EVP_MD_CTX_reset(EVP_MD_CTX* context)
    void EVP_MD_CTX_free(EVP_MD_CTX* context)
    int EVP_DigestInit_ex2(EVP_MD_CTX* context, const EVP_MD* digest, const OSSL_PARAM* parameters)
    int EVP_DigestUpdate(EVP_MD_CTX* context, const void* data, size_t size)
    int EVP_DigestFinal_ex(EVP_MD_CTX* context, unsigned char* digest, unsigned int* size)

    int EVP_DigestSignInit_ex(EVP_MD_CTX* context, EVP_PKEY_CTX** key_context, const char* digest, OSSL_LIB_CTX* library, const char* properties, EVP_PKEY* key, const OSSL_PARAM* parameters)
    int EVP_DigestSign(EVP_MD_CTX* context, unsigned char* signature, size_t* size, const unsigned char* data, size_t length)
    int EVP_DigestVerifyInit_ex(EVP_MD_CTX* context, EVP_PKEY_CTX** key_context, const char* digest, OSSL_LIB_CTX* library, const char* properties, EVP_PKEY* key, const OSSL_PARAM* parameters)
    int EVP_DigestVerify(EVP_MD_CTX* context, const unsigned char* signature, size_t size, const unsigned char* data, size_t length)

cdef extern from "openssl/rsa.h" nogil:
    int RSA_PKCS1_PADDING
    int RSA_PKCS1_PSS_PADDING
    int RSA_PSS_SALTLEN_DIGEST
    int EVP_PKEY_CTX_set_rsa_mgf1_md(EVP_PKEY_CTX* context, const EVP_MD* digest)
    int EVP_PKEY_CTX_set_rsa_pss_saltlen(EVP_PKEY_CTX* context, int length)
    int EVP_PKEY_CTX_set_rsa_keygen_bits(EVP_PKEY_CTX* context, int bits)
    int EVP_PKEY_CTX_set_rsa_padding(EVP_PKEY_CTX* context, int padding)

cdef extern from "openssl/x509.h" nogil:
    int i2d_PUBKEY(const EVP_PKEY* key, unsigned char** out)

cdef extern from "openssl/bio.h" nogil:
    ctypedef struct BIO:
        pass
    ctypedef struct BIO_METHOD:
        pass
    BIO* BIO_new_mem_buf(const void* data, int size)
    BIO* BIO_new(const BIO_METHOD* method)
    const BIO_METHOD* BIO_s_mem()
    int BIO_pending(BIO* source)
    long BIO_get_mem_data(BIO* target, char** data)
    int BIO_free(BIO* source)

cdef extern from "openssl/decoder.h" nogil:
    ctypedef struct OSSL_DECODER_CTX:
        pass
    OSSL_DECODER_CTX* OSSL_DECODER_CTX_new_for_pkey(EVP_PKEY** out, const char* input_type, const char* structure, const char* key_type, int selection, OSSL_LIB_CTX* library, const char* properties)
    int OSSL_DECODER_from_bio(OSSL_DECODER_CTX* context, BIO* source)
    int OSSL_DECODER_from_data(OSSL_DECODER_CTX* context, const unsigned char** data, size_t* size)
    void OSSL_DECODER_CTX_free(OSSL_DECODER_CTX* context)

cdef extern from "openssl/pem.h" nogil:
    int PEM_write_bio_PKCS8PrivateKey(BIO* target, const EVP_PKEY* key, const void* cipher, const char* password, int size, void* callback, void* argument)

cdef extern from "openssl/provider.h" nogil:
    ctypedef struct OSSL_PROVIDER:
        pass
    const OSSL_PROVIDER* EVP_PKEY_get0_provider(const EVP_PKEY* key)
    const char* OSSL_PROVIDER_get0_name(const OSSL_PROVIDER* provider)

cdef extern from "openssl/ui.h" nogil:
    ctypedef struct UI_METHOD:
        pass
    const UI_METHOD* UI_null()

cdef extern from "openssl/store.h" nogil:
    ctypedef struct OSSL_STORE_CTX:
        pass
    ctypedef struct OSSL_STORE_INFO:
        pass
    int OSSL_STORE_INFO_PKEY
    OSSL_STORE_CTX* OSSL_STORE_open_ex(const char* uri, OSSL_LIB_CTX* library, const char* properties, const UI_METHOD* ask, void* argument, const OSSL_PARAM* parameters, void* after, void* after_argument)
    int OSSL_STORE_expect(OSSL_STORE_CTX* store, int kind)
    OSSL_STORE_INFO* OSSL_STORE_load(OSSL_STORE_CTX* store)
    int OSSL_STORE_eof(OSSL_STORE_CTX* store)
    int OSSL_STORE_close(OSSL_STORE_CTX* store)
    int OSSL_STORE_INFO_get_type(const OSSL_STORE_INFO* info)
    EVP_PKEY* OSSL_STORE_INFO_get1_PKEY(const OSSL_STORE_INFO* info)
    void OSSL_STORE_INFO_free(OSSL_STORE_INFO* info)

cdef extern from "openssl/params.h" nogil:
    OSSL_PARAM OSSL_PARAM_construct_utf8_string(const char* key, char* text, size_t size)
    OSSL_PARAM OSSL_PARAM_construct_end()

cdef extern from "openssl/evp.h" nogil:
    ctypedef struct EVP_MAC:
        pass
    ctypedef struct EVP_MAC_CTX:
        pass
    EVP_MAC* EVP_MAC_fetch(OSSL_LIB_CTX* library, const char* algorithm, const char* properties)
    void EVP_MAC_free(EVP_MAC* mac)
    EVP_MAC_CTX* EVP_MAC_CTX_new(EVP_MAC* mac)
    void EVP_MAC_CTX_free(EVP_MAC_CTX* context)
    int EVP_MAC_init(EVP_MAC_CTX* context, const unsigned char* key, size_t size, const OSSL_PARAM* parameters)
    int EVP_MAC_update(EVP_MAC_CTX* context, const unsigned char* data, size_t size)
    int EVP_MAC_final(EVP_MAC_CTX* context, unsigned char* out, size_t* written, size_t size)

cdef extern from "openssl/crypto.h" nogil:
    int CRYPTO_memcmp(const void* one, const void* other, size_t size)
    void OPENSSL_cleanse(void* data, size_t size)
    void OPENSSL_free(void* memory)
