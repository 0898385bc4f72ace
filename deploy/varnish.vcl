vcl 4.1;
# A cache in front of certstatus, for Varnish 6 or later. It keeps what is authoritative for as long as certstatus says, and
# nothing else. tests/test_shared_caches.py runs this file.

backend certstatus {
    .host = "127.0.0.1";
    .port = "2560";
}

sub vcl_recv {
    # A body isn't part of what Varnish looks up, so POSTs are passed on, each to its own answer.
    if (req.method != "GET" && req.method != "HEAD") {
        return (pass);
    }
    # What is answered depends on the URL alone, as it came: base64 has slashes, also two in a row.
    unset req.http.Cookie;
    unset req.http.Authorization;
    return (hash);
}

sub vcl_backend_response {
    # Varnish sends what has ended for ten seconds more unless it is told not to: an answer that has ended is worth nothing.
    set beresp.grace = 0s;
    # For the revalidation by ETag.
    set beresp.keep = 10m;
    # For how long is certstatus' to say; what it doesn't say that of isn't kept.
    if (beresp.http.Cache-Control ~ "no-store" || !beresp.http.Cache-Control) {
        set beresp.uncacheable = true;
        set beresp.ttl = 0s;
        return (deliver);
    }
}

sub vcl_deliver {
    if (obj.hits > 0) {
        set resp.http.X-Cache = "HIT";
    } else {
        set resp.http.X-Cache = "MISS";
    }
}
