"""All code that uses S3 and boto3, which is imported at the first use only.

    access      how a server is reached: its address, credentials, certificates
    advice      what each error code means, and which setting to change
    addresses   the checks of what people write as a bucket or a server
    errors      what a server answered, as an error of ours
    renewal     credentials that expire while they are used
    client      boto3's client, within our time-outs and retries
    requests    requests about one bucket, their errors explained
    writing     how objects are written: encryption, storage class
    checks      what a server must be able to do, found out before a write relies on it
    parts       large files, sent in parts
    store       the store
    bucket      a bucket of other people, only read

Private to the storage, whose `__init__` hands on what others use.
"""
