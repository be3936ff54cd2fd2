//! The Cotera surface: call agents, fan out, check runs. Knows no other surface.
//!
//! The vendor's public document shows requests; what is answered is our own choice unless the documentation of a route says
//! otherwise.

mod agents;
mod chats;
pub(crate) mod error;
mod views;

use self::{
    agents::{UpdateAgent, UpdatedView},
    chats::{
        BatchItem, BatchView, ChatBody, ChatView, ChatsQuery, ChatsView, MessagesQuery, MessagesView, StatusAnswer,
    },
};

crate::route::routes! { Cotera;
    /// Send a prompt to an agent and get back its result
    ///
    /// A run that outlasts the call goes on, and the answer says `running`.
    cotera_chat = POST "/api/v1/resource/agent/{agent_id}/chat" => chats::chat {
        body: ChatBody,
        answer: 200 ChatView,
        access: [write api_keys, read agents, write runs, write messages, read files, send queue, use models, use tools],
        wait: Long,
    }
    /// Send 1 to 50 prompts, each to its own run of an agent, in parallel
    ///
    /// Answers as soon as every prompt is durably accepted. One bad prompt, and nothing is started.
    cotera_chat_batch = POST "/api/v1/resource/agent/{agent_id}/chat/batch" => chats::chat_batch {
        body: Vec<BatchItem>,
        answer: 200 BatchView,
        access: [write api_keys, read agents, write runs, write messages, read files, send queue, use models],
    }
    /// Change an agent, for instance its model
    cotera_update_agent = POST "/api/v1/resource/agent/{agent_id}/update" => agents::update_agent {
        body: UpdateAgent,
        answer: 200 UpdatedView,
        access: [write api_keys, write agents, write runs, use models],
    }
    /// Say where a chat stands
    cotera_get_chat_status = GET "/api/v1/resource/chat/{chat_id}/status" => chats::get_chat_status {
        answer: 200 StatusAnswer,
        access: [write api_keys, write runs],
    }
    /// List a chat's messages, in order
    cotera_list_chat_messages = GET "/api/v1/resource/chat/{chat_id}/list" => chats::list_chat_messages {
        query: MessagesQuery,
        answer: 200 MessagesView,
        access: [write api_keys, write runs, read messages],
        wait: Long,
    }
    /// List the chats of the whole workspace, newest first
    cotera_list_chats = GET "/api/v1/resource/chat/list" => chats::list_chats {
        query: ChatsQuery,
        answer: 200 ChatsView,
        access: [write api_keys, write runs],
    }
}
