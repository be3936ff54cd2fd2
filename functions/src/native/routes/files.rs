//! Files.

use crate::native::{
    files::{self, CreateFile, FileView, UploadQuery},
    views::{ListQuery, PageView},
};

crate::route::routes! { Native;
    /// Keep a file to show to runs: with its bytes, or to be uploaded
    create_file = POST "/v1/files" => files::create_file {
        body: CreateFile,
        answer: 201 FileView,
        access: [write api_keys, write runs, write messages, write files],
    }
    /// List files, newest first
    list_files = GET "/v1/files" => files::list_files {
        query: ListQuery,
        answer: 200 PageView<FileView>,
        access: [write api_keys, write runs, read messages],
    }
    /// Get a file, without its bytes: whether they have come is looked at
    get_file = GET "/v1/files/{file_id}" => files::get_file {
        answer: 200 FileView,
        access: [write api_keys, write runs, write messages, write files],
    }
    /// Read a file: its bytes, or an address where they are for some minutes
    ///
    /// They are of the file's own `media_type`. 409 as long as they have not come.
    get_file_content = GET "/v1/files/{file_id}/content" => files::get_file_content {
        answer: 200 "*/*" String | 302 | 409,
        access: [write api_keys, write runs, write messages, write files],
    }
    /// Upload a file's bytes to the address that its making answered: only where files are in a folder of this host
    upload_file = PUT "/v1/files/{file_id}/content" => files::upload_file {
        query: UploadQuery,
        answer: 200 FileView | 400 | 409 | 413,
        access: [write messages, write files],
        limit: shared::file::FILE_LIMIT_BYTES,
        admit: files::may_upload,
        deployed: false,
    }
    /// Delete a file: runs that were shown it keep its name
    delete_file = DELETE "/v1/files/{file_id}" => files::delete_file {
        answer: 204,
        access: [write api_keys, write runs, write messages, delete files],
    }
}
