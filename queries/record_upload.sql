/*+++
description = "Records an object that was put into a bucket"
mode = "write"
params = [
    { name = "bucket", from = "bucket" },
    { name = "key", from = "key" },
    { name = "size", from = "/s3/object/size", required = false },
    { name = "uploaded_at", from = "timestamp" },
]
+++*/
INSERT INTO uploads (bucket, key, size, uploaded_at) VALUES ($1, $2, $3, $4) RETURNING key
